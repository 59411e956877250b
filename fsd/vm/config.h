/*
 * The instance: its settings (config/KEY), its places, and the rooms that a VM is made with. Filled in by main.
 */
#ifndef BANGER_VM_CONFIG_H
#define BANGER_VM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/helper_client.h"
#include "store/store.h"

/* Settings as numbers and strings; a row each in vm/config.c, where defaults and limits stand. Loop thread. */
struct settings;
struct setting {
	const char *name;
	const char *value_default;
	const char *doc;
	int (*check)(const char *text, struct err *e);
};
extern const struct setting settings_table[];
extern const size_t settings_count;
/* Whether its value may be several lines. */
bool setting_has_lines(const struct setting *s);

int settings_new(struct store *store, struct settings **ret, struct err *e); /* reads what is stored */
struct settings *settings_free(struct settings *s);
/* The value in force; never NULL for a name of the table. */
const char *settings_get(const struct settings *s, const char *name);
uint64_t settings_get_u64(const struct settings *s, const char *name); /* sizes and numbers */
bool settings_get_bool(const struct settings *s, const char *name);
/* Checks only: -ENOENT no such setting, -EINVAL, -ERANGE. */
int settings_check(const char *name, const char *text, struct err *e);
/* In memory; the caller stores it (store_config_set on the serial worker). */
int settings_put(struct settings *s, const char *name, const char *text, struct err *e);
/* CHANGED is called after each settings_put() from now on; one at a time. */
void settings_watch(
	struct settings *s, void (*changed)(void *user, const char *name, const char *value), void *user);
/* CLOCK_REALTIME usec of the last change. */
uint64_t settings_changed(const struct settings *s, const char *name);

struct objects; /* vm/objects.h: images or kernels */

struct vms_config {
	struct settings *settings;
	struct store *store;
	struct helper *helper;
	struct objects *images, *kernels;
	const char *instance; /* its name, or "". Outlives the model */
	int state_fd;         /* PLACE_STATE, a directory */
	int run_fd;           /* PLACE_FSD_DIR, a directory */
	int guest_fd;         /* the banger-guest binary */
	const char *home;     /* the owner's: git's configuration is there; NULL: none. Outlives the model */
	const char *
		ssh_key; /* what root of each guest lets in, beside its own; NULL: nobody. Outlives the model */
};

#endif
