/* The directories, each in a file of its own. No other room includes it. */
#ifndef BANGER_TREE_TABLES_H
#define BANGER_TREE_TABLES_H

#include "tree/attr.h"

extern const struct dir_type root_dir, root_stream_dir, config_dir, host_dir, ops_dir, op_dir;
extern const struct dir_type vms_dir, vm_dir, vm_stream_dir, vm_wait_dir;
extern const struct dir_type execs_dir, exec_dir, exec_stream_dir, exec_wait_dir;
extern const struct dir_type images_dir, image_dir, image_users_dir, image_user_dir;
extern const struct dir_type kernels_dir, kernel_dir, kernel_users_dir, kernel_user_dir;

/* vms/NAME/, and what is in it and changes with it */
uint64_t vm_dir_changed(struct tree *t, uint64_t row);
/* vms/NAME/ctl and the settings' store */
void vm_ctl_show(struct tree *t, const struct target *at, FILE *out);
void vm_ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call);
void vm_setting_show(struct tree *t, const struct target *at, FILE *out);
void vm_setting_store(struct tree *t, const struct target *at, const struct input *in, struct call *call);
/* What the guest must be asked for. */
void vm_stats_ask(struct tree *t, struct handle *h, struct call *call);
void vm_health_ask(struct tree *t, struct handle *h, struct call *call);
void vm_ports_ask(struct tree *t, struct handle *h, struct call *call);
/* vms/NAME/workspace.ctl, workspace.info */
void workspace_ctl_show(struct tree *t, const struct target *at, FILE *out);
void workspace_ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call);
extern const struct file_ops workspace_made_ops; /* data: enum workspace_made */
void workspace_info_ask(struct tree *t, struct handle *h, struct call *call);
/* vms/NAME/keep and idle */
void vm_keep_show(struct tree *t, const struct target *at, FILE *out);
void vm_idle_show(struct tree *t, const struct target *at, FILE *out);
extern const struct file_ops vm_keep_ops;
/* host/dns */
void host_dns_ask(struct tree *t, struct handle *h, struct call *call);
/* The verb `shutdown`. */
void shutdown_begin(struct tree *t, struct call *call);
/* Ends CALL with CODE; a VM's `error` gets "WHAT: TEXT", or is emptied; so does the root's log. */
void vm_deed(struct tree *t, uint32_t vm, struct call *call, const char *what, int code, const char *text,
	bool model_told);

#endif
