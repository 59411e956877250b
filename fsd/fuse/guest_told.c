/*
 * Names of a guest's files that the kernel keeps, there or not. It can only be told to forget all names at once (FUSE_NOTIFY_INC_EPOCH; to forget one it
 * locks the folder, which who waits for an answer of ours may hold). So it is not told of those that it has not, and keeps none that the guest makes and takes
 * away over and over, as each command of git does in .git.
 */
#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define TOLD_SETS 8192
#define TOLD_WAYS 8
#define ANY       UINT64_MAX /* in a set: more than it has room for */
#define BUSY      4096       /* names; the later one takes the place of another */
#define CALM_USEC (600 * 1000000ull)

/* The work disk's uppermost folder, which the workspace is in (EXT2_ROOT_INO, ext2_fs.h). */
#define DISK_ROOT 2

struct told {
	uint64_t names[TOLD_SETS][TOLD_WAYS]; /* 0: none */
	bool any; /* they are not all 0: half a MiB that is not written to is none */
	struct {
		uint64_t name;
		uint64_t usec; /* when the guest has changed it last; 0: there is none here */
	} busy[BUSY];
	struct file_ref root; /* what WORKSPACE is in the guest; all zeros: not known */
	uint64_t roots;       /* how often another may have come in its place */
};

static const struct file_ref workspace = {0};

struct told *told_new(void)
{
	return calloc(1, sizeof(struct told));
}

struct told *told_free(struct told *t)
{
	free(t);
	return NULL;
}

static bool same(struct file_ref a, struct file_ref b)
{
	return a.ino == b.ino && a.tag == b.tag;
}

/* One number for both; that of two names is the same as good as never. */
static uint64_t of(struct file_ref folder, uint64_t hash)
{
	uint64_t name = hash + ((uint64_t)folder.tag << 32 | folder.ino) * 0x9e3779b97f4a7c15;

	return name == 0 || name == ANY ? 1 : name;
}

static uint64_t *set_of(struct told *t, uint64_t name)
{
	return t->names[node_place(name, TOLD_SETS)];
}

static bool holds(const uint64_t *set, uint64_t name)
{
	for (size_t i = 0; i < TOLD_WAYS; i++)
		if (set[i] == name || set[i] == ANY)
			return true;
	return false;
}

static void put(struct told *t, uint64_t name)
{
	uint64_t *set = set_of(t, name);
	size_t i = 0;

	t->any = true;
	if (holds(set, name))
		return;
	while (i < TOLD_WAYS && set[i])
		i++;
	if (i < TOLD_WAYS)
		set[i] = name;
	else
		set[0] = ANY;
}

static bool is_busy(const struct told *t, uint64_t name, uint64_t now)
{
	size_t i = node_place(name, BUSY);

	return t->busy[i].usec && t->busy[i].name == name && now - t->busy[i].usec < CALM_USEC;
}

bool told_may(struct told *t, struct file_ref folder, uint64_t hash)
{
	uint64_t name = of(folder, hash);

	if (is_busy(t, name, io_now_usec()))
		return false;
	put(t, name);
	return true;
}

void told_name(struct told *t, struct file_ref folder, uint64_t hash)
{
	put(t, of(folder, hash));
}

bool told_knows_root(const struct told *t)
{
	return !same(t->root, workspace);
}

bool told_is_root(const struct told *t, struct file_ref folder)
{
	return told_knows_root(t) && same(folder, t->root);
}

uint64_t told_roots(const struct told *t)
{
	return t->roots;
}

void told_root(struct told *t, struct file_ref root, uint64_t roots)
{
	if (roots == t->roots)
		t->root = root;
}

uint64_t told_number(const struct told *t, struct file_ref folder, uint64_t hash)
{
	return of(same(folder, t->root) ? workspace : folder, hash);
}

bool told_changed(struct told *t, struct file_ref folder, uint64_t hash)
{
	uint64_t name = told_number(t, folder, hash), now = io_now_usec();
	size_t i = node_place(name, BUSY);
	bool had = holds(set_of(t, name), name);

	if (folder.ino == DISK_ROOT && hash == agent_name_hash("workspace")) {
		t->root = workspace;
		t->roots++;
	}
	if (had || is_busy(t, name, now)) {
		t->busy[i].name = name;
		t->busy[i].usec = now;
	}
	/* Any folder is the workspace, perhaps. */
	return had || !told_knows_root(t);
}

void told_nothing(struct told *t)
{
	if (t->any)
		memset(t->names, 0, sizeof(t->names));
	t->any = false;
}
