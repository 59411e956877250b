/* Which requests are done once, however often they are asked for: the kernel asks a new daemon again for what the one before did not answer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"

#define UNIQUE 4242
#define AGENT  ((struct agent *)&sent)

/* What was sent last, and under which number. */
static struct {
	const char *what;
	uint64_t once;
	int count;
} sent;
static uint64_t next_once;
static struct server server;

void agent_once(struct agent *a, uint64_t token)
{
	assert_ptr_equal(a, AGENT);
	next_once = token;
}

static int send(const char *what)
{
	sent.what = what;
	sent.once = next_once;
	sent.count++;
	next_once = 0;
	return 0;
}

#define SENDS(name, ...)                                                                                     \
	int name(__VA_ARGS__)                                                                                \
	{                                                                                                    \
		return send(#name);                                                                          \
	}
/* The same of a piece of something larger, which goes with its answer. */
#define SENDS_PIECE(name, ...)                                                                               \
	int name(__VA_ARGS__)                                                                                \
	{                                                                                                    \
		free(user);                                                                                  \
		return send(#name);                                                                          \
	}
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define A   struct agent *a
#define F   struct file_ref file
#define N   const char *name
#define END void *user, uint32_t *ret_id
SENDS(files_lookup, A, F, N, files_attr_fn fn, END)
SENDS(files_getattr, A, F, files_attr_fn fn, END)
SENDS(files_setattr, A, F, const struct files_change *change, files_attr_fn fn, END)
SENDS(files_readlink, A, F, files_data_fn fn, END)
SENDS(files_mknod, A, F, N, uint32_t mode, uint32_t rdev, struct files_owner owner, files_attr_fn fn, END)
SENDS(files_mkdir, A, F, N, uint32_t mode, struct files_owner owner, files_attr_fn fn, END)
SENDS(files_symlink, A, F, N, const char *target, struct files_owner owner, files_attr_fn fn, END)
SENDS(files_link, A, F, struct file_ref dir, N, files_attr_fn fn, END)
SENDS(files_unlink, A, F, N, files_done_fn fn, END)
SENDS(files_rmdir, A, F, N, files_done_fn fn, END)
SENDS(files_rename, A, F, N, struct file_ref dir, const char *newname, uint32_t flags, files_done_fn fn, END)
SENDS(files_open, A, F, uint32_t flags, files_attr_fn fn, END)
SENDS(files_create, A, F, N, uint32_t flags, uint32_t mode, struct files_owner owner, files_attr_fn fn, END)
SENDS(files_release, A, F, files_done_fn fn, END)
SENDS_PIECE(files_read, A, F, uint64_t offset, uint32_t size, files_data_fn fn, END)
SENDS_PIECE(files_write, A, F, uint64_t offset, const void *data, uint32_t size, bool append,
	files_count_fn fn, END)
SENDS(files_fsync, A, F, bool datasync, files_done_fn fn, END)
SENDS(files_readdir, A, F, uint64_t cookie, uint32_t size, bool plus, files_data_fn fn, END)
SENDS(files_statfs, A, F, files_statfs_fn fn, END)
SENDS(files_getxattr, A, F, N, uint32_t size, files_data_fn fn, END)
SENDS(files_setxattr, A, F, N, const void *value, uint32_t size, uint32_t flags, files_done_fn fn, END)
SENDS(files_listxattr, A, F, files_data_fn fn, END)
SENDS(files_removexattr, A, F, N, files_done_fn fn, END)
SENDS(files_fallocate, A, F, uint32_t mode, uint64_t offset, uint64_t length, files_done_fn fn, END)
SENDS(files_copy, A, F, uint64_t from, struct file_ref to, uint64_t to_offset, uint64_t size,
	files_count_fn fn, END)
SENDS(files_lseek, A, F, uint64_t offset, uint32_t whence, files_offset_fn fn, END)

int files_dirent_next(const void **data, size_t *n, bool plus, struct files_dirent *ret)
{
	return 0;
}

/* Nothing is known, nobody waits, and the file is there. */
struct ask *ask_new(fuse_req_t req, uint64_t node, struct agent **ret_agent)
{
	static struct ask a;

	a = (struct ask){.s = &server, .node = node};
	*ret_agent = AGENT;
	return &a;
}

int place_find(struct server *s, uint64_t number, struct place *ret)
{
	*ret = (struct place){.agent = AGENT};
	return 0;
}

int place_look(struct server *s, uint64_t number, struct place *ret)
{
	return place_find(s, number, ret);
}

void ask_sent(struct ask *a, int r)
{
	assert_int_equal(r, 0);
}

void ask_free(struct ask *a)
{
}

void ask_fail(struct ask *a, int code)
{
	fail();
}

int ask_code(const struct ask *a, int code)
{
	return -code;
}

struct agent *ask_agent(const struct ask *a)
{
	return AGENT;
}

struct files_owner ask_owner(const struct ask *a)
{
	return (struct files_owner){0};
}

uint32_t ask_uid_there(const struct server *s, uid_t uid)
{
	return uid;
}

uint32_t ask_gid_there(const struct server *s, gid_t gid)
{
	return gid;
}

void ask_stat(const struct ask *a, const struct agent_attr *attr, struct stat *ret)
{
}

void ask_made(const struct ask *a, const struct agent_attr *attr)
{
}

void ask_entry(const struct ask *a, const struct agent_attr *attr, struct fuse_entry_param *ret)
{
}

void ask_on_entry(void *user, int code, const struct agent_attr *attr)
{
}

void ask_on_attr(void *user, int code, const struct agent_attr *attr)
{
}

void ask_on_code(void *user, int code)
{
}

struct guest_cache *guest_cache(struct server *s, uint32_t vm, struct agent *agent)
{
	return NULL;
}

struct known *guest_known(const struct guest_cache *c)
{
	return NULL;
}

uint32_t guest_boot(const struct guest_cache *c)
{
	return 0;
}

bool guest_is_live(const struct guest_cache *c)
{
	return false;
}

double guest_absent_timeout(const struct ask *a)
{
	return 0;
}

void guest_itself_changed_in_root(const struct ask *a)
{
}

double guest_entry_timeout(const struct ask *a, const struct agent_attr *attr)
{
	return 0;
}

void guest_moves_names(const struct ask *a)
{
}

void guest_found(const struct ask *a, uint64_t node, const struct agent_attr *attr)
{
}

bool guest_named(const struct ask *a, uint64_t *ret_node, struct agent_attr *ret, uint64_t *ret_usec)
{
	return false;
}

void guest_name_changing(const struct ask *a, struct file_ref folder, uint64_t hash)
{
}

bool guest_keeps(struct guest_cache *c, uint64_t node)
{
	return false;
}

bool guest_is_plain(struct guest_cache *c, uint64_t node)
{
	return false;
}

void guest_not_plain(struct guest_cache *c, uint64_t node)
{
}

struct vm *tree_vm(struct tree *t, uint32_t id)
{
	return NULL;
}

struct agent *vm_files(struct vm *vm)
{
	return NULL;
}

void vm_set_error(struct vm *vm, int code, uint64_t op, const char *text)
{
}

void tree_use(struct tree *t, uint64_t row, bool begins)
{
}

void *fuse_req_userdata(fuse_req_t req)
{
	return &server;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
	static const struct fuse_ctx ctx;

	return &ctx;
}

int fuse_reply_err(fuse_req_t req, int err)
{
	assert_int_equal(err, 0);
	return 0;
}

int fuse_reply_open(fuse_req_t req, const struct fuse_file_info *fi)
{
	return 0;
}

int fuse_reply_attr(fuse_req_t req, const struct stat *attr, double timeout)
{
	return 0;
}

#define ONCE(call)                                                                                           \
	do {                                                                                                 \
		sent.count = 0;                                                                              \
		call;                                                                                        \
		assert_int_equal(sent.count, 1);                                                             \
		assert_int_equal(sent.once, UNIQUE);                                                         \
		assert_int_equal(next_once, 0);                                                              \
	} while (0)
#define ANY(call)                                                                                            \
	do {                                                                                                 \
		sent.count = 0;                                                                              \
		call;                                                                                        \
		assert_int_equal(sent.count, 1);                                                             \
		assert_int_equal(sent.once, 0);                                                              \
	} while (0)

static int setup(void **state)
{
	server.unique = UNIQUE;
	return 0;
}

static void names(void **state)
{
	struct fuse_file_info fi = {.flags = O_RDWR | O_CREAT};

	ONCE(guest_mknod(NULL, 1, "a", S_IFIFO | 0600, 0));
	ONCE(guest_mkdir(NULL, 1, "a", 0700));
	ONCE(guest_symlink(NULL, "to", 1, "a"));
	ONCE(guest_create(NULL, 1, "a", 0600, &fi));
	ONCE(guest_link(NULL, 2, 1, "a"));
	ONCE(guest_rename(NULL, 1, "a", 2, "b", 0));
	ONCE(guest_unlink(NULL, 1, "a"));
	ONCE(guest_rmdir(NULL, 1, "a"));
	ANY(guest_lookup(NULL, 1, "a"));
	ANY(guest_readlink(NULL, 1));
}

/* What the guest has written since would be lost. */
static void contents(void **state)
{
	struct fuse_file_info fi = {.flags = O_WRONLY | O_APPEND};
	struct stat st = {0};

	ONCE(guest_fallocate(NULL, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10, &fi));
	ONCE(guest_copy_file_range(NULL, 1, 0, &fi, 2, 0, &fi, 10, 0));
	ONCE(guest_setattr(NULL, 1, &st, FUSE_SET_ATTR_SIZE, &fi));
	ANY(guest_setattr(NULL, 1, &st, FUSE_SET_ATTR_MODE, &fi));
	ONCE(guest_write(NULL, 1, "x", 1, 0, &fi));
	ONCE(guest_setxattr(NULL, 1, "user.a", "v", 1, 0));
	ONCE(guest_removexattr(NULL, 1, "user.a"));
	fi.flags = O_WRONLY;
	ANY(guest_write(NULL, 1, "x", 1, 0, &fi));
	ANY(guest_fsync(NULL, 1, 0, &fi));
	ANY(guest_read(NULL, 1, 10, 0, &fi));
	ANY(guest_lseek(NULL, 1, 0, SEEK_DATA, &fi));
}

/* So that the guest counts right who has it open. */
static void pins(void **state)
{
	struct fuse_file_info fi = {.flags = O_RDONLY};

	ONCE(guest_open(NULL, 1, &fi));
	ONCE(guest_release(NULL, 1, &fi));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(names, setup),
		cmocka_unit_test_setup(contents, setup),
		cmocka_unit_test_setup(pins, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
