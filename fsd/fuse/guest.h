/*
 * workspace/ and root/: files that somebody else serves, who answers AGENT_FS_* (banger/agent_proto.h): vm_files() says who. Nothing
 * of them is kept here: a node number names VM, inode and generation, or the agent's own key, and what the kernel may cache of a file it drops
 * when the file is opened anew.
 *
 * The guest's root is the owner of the instance on this side (and whoever is root here), since the kernel checks modes
 * against the caller; other owners are shown as they are. Loop thread.
 */
#ifndef BANGER_FUSE_GUEST_H
#define BANGER_FUSE_GUEST_H

#include "fuse/state.h"
#include "guest/files.h"

#define ASK_PIECES 6 /* of FILES_IO_MAX, in what the kernel asks for at once (max_write) */

/* A request under way to a guest. */
struct ask {
	struct server *s;
	fuse_req_t req;
	uint32_t vm;
	uint32_t request, more[ASK_PIECES - 1]; /* of one in several pieces; 0: none, or answered */
	uint64_t node;
	struct guest_cache *cache; /* borrowed; gone with the VM, after every ask of it */
	struct file_ref file;
	uint64_t changes; /* known_changes() when it was asked */
	bool in_root;     /* seen from root/ */
	bool forgotten;   /* nobody waits any more */
	struct fuse_file_info fi;
	sd_event_source *timer;
	bool plus, datasync;
	int dots; /* of "." and "..", how many are behind the offset */
	/* Folders in which names are made or removed: */
	struct file_ref dirs[2];
	uint64_t dir_nodes[2];
	unsigned dir_count;
	bool fresh; /* what is made is an empty folder */
	/* agent_name_hash() of what is looked up, listed, made or removed in FILE, or in each of DIRS: */
	uint64_t names[2];
	/* Reads and writes: */
	char *data;
	size_t size, have; /* asked for; of them there */
	uint64_t offset;
	unsigned pieces; /* not answered yet */
	int code;
	/* Waits for what was written behind, so many operations of it: */
	uint64_t after;
	struct behind *parked;
	TAILQ_ENTRY(ask) link;
};

/* For the file NODE; who serves it is *RET_AGENT, borrowed. NULL: REQ is answered. */
struct ask *ask_new(fuse_req_t req, uint64_t node, struct agent **ret_agent);
/* After the request was sent (R 0), or was not, and then it is answered. */
void ask_sent(struct ask *a, int r);
void ask_free(struct ask *a);
/* Likewise, for what makes or removes NAME in the folder NODE. */
struct ask *change_new(fuse_req_t req, uint64_t node, const char *name, bool makes, struct agent **ret_agent);
/* The answer is an error, and A is over. */
void ask_fail(struct ask *a, int code);
/* The errno that the kernel is told of an agent's CODE; A may be NULL. */
int ask_code(const struct ask *a, int code);
/* A's agent, as it is now; NULL: nobody serves the files. */
struct agent *ask_agent(const struct ask *a);

/* Whose file a number is, and which of his. */
struct place {
	uint32_t vm;
	struct file_ref file;
	bool in_root;
	struct agent *agent; /* borrowed */
};
/* What is known of folders (guest_known.c); K may be NULL in all: nothing is. */
struct known;
struct known *known_new(void);
struct known *known_free(struct known *k);
/* Others have changed NODE; anything. */
void known_changed(struct known *k, uint64_t node);
void known_drop(struct known *k);
/* NODE is about to be changed by what is asked for here. */
void known_changing(struct known *k, uint64_t node);
/* Some folder has moved. */
void known_moved(struct known *k);
/* How often something was changed so far. */
uint64_t known_changes(const struct known *k);
/* What NODE is like, as the answer says to what was asked when known_changes() was CHANGES: one that may lack a change is not kept. */
void known_attr(struct known *k, uint64_t node, const struct agent_attr *attr, uint64_t changes);
/* NODE has not changed since known_changes() was CHANGES, as far as is known. */
bool known_same(struct known *k, uint64_t node, uint64_t changes);
bool known_get(struct known *k, uint64_t node, struct agent_attr *ret);
/* NODE was made, empty; NAME is about to be made in it; NAME cannot be in it. */
void known_fresh(struct known *k, uint64_t node);
void known_name(struct known *k, uint64_t node, const char *name);
bool known_absent(struct known *k, uint64_t node, const char *name);
#define KNOWN_USEC                                                                                           \
	60000000u /* a file that is written through a shared mapping in the guest tells so when it is closed; this is how long that may stay unseen */
/* The name, by its told_number(), is about to come, go or become another's. */
void known_name_changing(struct known *k, uint64_t name);
/* Under NAME there is NODE, which is like ATTR, or nothing (NODE 0), as the answer says to what was asked when known_changes() was CHANGES. */
void known_found(
	struct known *k, uint64_t name, uint64_t node, const struct agent_attr *attr, uint64_t changes);
/* What there is under NAME, if that is known, and for how long it is. */
bool known_named(
	struct known *k, uint64_t name, uint64_t *ret_node, struct agent_attr *ret, uint64_t *ret_usec);

/* Names that the kernel keeps, by their agent_name_hash() (guest_told.c). */
struct told;
struct told *told_new(void);
struct told *told_free(struct told *t);
/* One number for FOLDER and the name HASH in it. */
uint64_t told_number(const struct told *t, struct file_ref folder, uint64_t hash);
/* The kernel may keep whether FOLDER has the name HASH, and is taken to; false: the guest changes it often. */
bool told_may(struct told *t, struct file_ref folder, uint64_t hash);
/* It has it, whatever it was told. */
void told_name(struct told *t, struct file_ref folder, uint64_t hash);
/* The guest has made or removed the name HASH in FOLDER. True: the kernel may have it. */
bool told_changed(struct told *t, struct file_ref folder, uint64_t hash);
/* The kernel has forgotten all names. */
void told_nothing(struct told *t);
/* Which folder the workspace, {0, 0}, is: ROOT, as the answer says to what was asked when told_roots() was ROOTS. */
bool told_knows_root(const struct told *t);
bool told_is_root(const struct told *t, struct file_ref folder);
uint64_t told_roots(const struct told *t);
void told_root(struct told *t, struct file_ref root, uint64_t roots);

/* What the kernel may keep of the files of VM's guest, served by AGENT; from now on, if the guest tells of changes. */
struct guest_cache *guest_cache(struct server *s, uint32_t vm, struct agent *agent);
/*
 * Seconds for which a file's attributes are right; its name is, which was found or made by A; A's folder has no file of the name that was looked up. What changes in
 * a folder is told of the one in workspace/ only, not of what it is in root/.
 */
double guest_attr_timeout(const struct ask *a, const struct agent_attr *attr);
double guest_entry_timeout(const struct ask *a, const struct agent_attr *attr);
double guest_absent_timeout(const struct ask *a);
/* A moves a name between its folders, or two, and what the kernel keeps of it with it. */
void guest_moves_names(const struct ask *a);
/* What A has found under its name, or not (NODE 0), is known from now on; and is it known already? */
void guest_found(const struct ask *a, uint64_t node, const struct agent_attr *attr);
bool guest_named(const struct ask *a, uint64_t *ret_node, struct agent_attr *ret, uint64_t *ret_usec);
/* The name HASH in FOLDER is about to be another's. */
void guest_name_changing(const struct ask *a, struct file_ref folder, uint64_t hash);
/* What is known of the guest's folders; NULL: it does not tell of changes. */
struct known *guest_known(const struct guest_cache *c);
/* Which run of the guest it is (journal_boot()). */
uint32_t guest_boot(const struct guest_cache *c);
/* The guest tells of changes. */
bool guest_is_live(const struct guest_cache *c);
/* The kernel may keep the pages that it has of NODE, which is opened. */
bool guest_keeps(struct guest_cache *c, uint64_t node);
/*
 * A lists its folder from the start on; has an answer to that. True: the kernel may list it again by itself: it will be told when the folder changes, which it has
 * not since the start, also not while A was under way.
 */
void guest_listing(const struct ask *a);
bool guest_listed(const struct ask *a);
/* The kernel is to ask for what is in VM's workspace: it does once it has heard of all that it was told so far. */
void guest_unlist_workspace(struct server *s, uint32_t vm);
/* NODE is known to have no extended attributes; known so far is what its attributes said. */
bool guest_is_plain(struct guest_cache *c, uint64_t node);
void guest_plain(struct guest_cache *c, uint64_t node, const struct agent_attr *attr);
void guest_not_plain(struct guest_cache *c, uint64_t node);
/* What A has changed of folders of the work disk through root/ is told of workspace/, which shows it too. */
void guest_changed_in_root(const struct ask *a);
/* Likewise, where it was the file or folder of A that was changed. */
void guest_itself_changed_in_root(const struct ask *a);

/* -ESTALE; -EBUSY: nobody serves the VM's files. place_find() sees to it that somebody does, where that can be. */
int place_find(struct server *s, uint64_t number, struct place *ret);
int place_look(struct server *s, uint64_t number, struct place *ret);
/* Whose it is; 0: nobody's. */
uint32_t place_vm(uint64_t number);

/*
 * Writing behind (guest_behind.c). A file is written behind while it is open for writing: behind_opened() and behind_released() count that. NODE is the file's,
 * ATTR what the guest has said of it. True: A is answered, and gone.
 */
void behind_opened(const struct ask *a, uint64_t node, const struct agent_attr *attr);
void behind_released(struct server *s, uint64_t node);
bool behind_write(struct ask *a, struct agent *agent, const char *data);
/* It is open for writing, or something of it is not confirmed or told. */
bool behind_has(struct server *s, uint64_t node);
/* What the file is like, with what is under way; false: the guest knows better. */
bool behind_attr(struct server *s, uint64_t node, struct agent_attr *ret);
bool behind_setattr(struct ask *a, struct agent *agent, const struct files_change *change);
void behind_seen(struct server *s, uint64_t node, const struct agent_attr *attr);
/* A name is about to go or come, or has: the counts of links that were seen before may be no more. */
void behind_names(struct server *s);
/* Others have changed it. */
void behind_changed(struct server *s, uint64_t node);
/* Something is not confirmed. */
bool behind_is_busy(struct server *s, uint64_t node);
/* So many operations were sent so far; of the first AFTER of them one is not confirmed. */
uint64_t behind_sent(struct server *s, uint64_t node);
bool behind_waits(struct server *s, uint64_t node, uint64_t after);
/* Answers A, of a busy one, when all that was written before is confirmed, with what went wrong; -ETIMEDOUT: the guest has not answered in 30 s. */
void behind_flush(struct ask *a);
/* Nobody waits for A any more, which is parked. */
void behind_unpark(struct ask *a);
/* What went wrong and nobody was told of yet, or 0; it is told now. */
int behind_error(struct server *s, uint64_t node);
/* What an earlier daemon has left unconfirmed goes to VM's AGENT, before anything else does. */
void behinds_replay(struct server *s, uint32_t vm, uint32_t boot, struct agent *agent);
/* There is such a thing, of the file NODE (0: of any), and the agent has not been asked yet. */
bool behind_left(struct server *s, uint32_t vm, uint64_t node);

/* Owners as the guest has them; who makes something is who asked. */
uint32_t ask_uid_there(const struct server *s, uid_t uid);
uint32_t ask_gid_there(const struct server *s, gid_t gid);
struct files_owner ask_owner(const struct ask *a);
/* What the kernel is told of a file. */
void ask_stat(const struct ask *a, const struct agent_attr *attr, struct stat *ret);
/* After A has made something, or found it (and then nothing is done). */
void ask_made(const struct ask *a, const struct agent_attr *attr);
void ask_entry(const struct ask *a, const struct agent_attr *attr, struct fuse_entry_param *ret);

/* Answers that many requests have: an entry, attributes, nothing but a code. USER: the ask. */
void ask_on_entry(void *user, int code, const struct agent_attr *attr);
void ask_on_attr(void *user, int code, const struct agent_attr *attr);
void ask_on_code(void *user, int code);

/* The requests (libfuse's fuse_lowlevel.h): guest_names.c, guest_data.c, guest_list.c, guest_xattr.c. */
void guest_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void guest_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi);
void guest_readlink(fuse_req_t req, fuse_ino_t ino);
void guest_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void guest_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void guest_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name);
void guest_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void guest_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void guest_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags);
void guest_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void guest_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void guest_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void guest_write(
	fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void guest_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void guest_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void guest_fallocate(
	fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);
void guest_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void guest_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
	fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags);
void guest_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void guest_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void guest_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void guest_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void guest_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void guest_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void guest_statfs(fuse_req_t req, fuse_ino_t ino);

#endif
