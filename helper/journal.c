#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/helper_proto.h"
#include "banger/io.h"
#include "journal.h"

#define MAGIC      "BNGRJ01"
#define MAGIC_KIND 5 /* what all versions have in common */

_Static_assert(sizeof(struct journal_vm) == 64, "a slot is 64 bytes");
_Static_assert(sizeof(struct journal_head) == 200, "the head is 200 bytes");

#define HEAD_ROOM 256

struct journal {
	int fd;
	unsigned n;
	struct journal_head head;
	struct journal_vm slots[];
};

static int write_at(struct journal *j, const void *buf, size_t n, off_t at, struct err *e)
{
	int r = io_pwrite_full(j->fd, buf, n, at);

	if (r == 0 && fdatasync(j->fd) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, r, "the helper's journal") : 0;
}

static int begin(struct journal *j, const char *boot_id, struct err *e)
{
	off_t size = HEAD_ROOM + (off_t)(j->n * sizeof(j->slots[0]));
	int r;

	if (ftruncate(j->fd, size) < 0)
		return err_sys(e, -errno, "the helper's journal");
	r = posix_fallocate(j->fd, 0, size);
	if (r != 0)
		return err_sys(e, -r, "the helper's journal");
	memset(&j->head, 0, sizeof(j->head));
	memset(j->slots, 0, j->n * sizeof(j->slots[0]));
	memcpy(j->head.magic, MAGIC, sizeof(MAGIC));
	memcpy(j->head.boot_id, boot_id, strnlen(boot_id, sizeof(j->head.boot_id) - 1));
	r = write_at(j, j->slots, j->n * sizeof(j->slots[0]), HEAD_ROOM, e);
	return r < 0 ? r : journal_write_head(j, e);
}

static int plausible_slot(const struct journal *j, unsigned i)
{
	const struct journal_vm *s = &j->slots[i];

	if (s->vm > HELPER_VM_MAX || s->tap > JOURNAL_DELETING || s->nat > JOURNAL_DELETING ||
		s->process > JOURNAL_DELETING || s->disk > JOURNAL_DELETING || s->jail > JOURNAL_DELETING ||
		s->pid < 0)
		return 0;
	for (unsigned k = 0; s->vm != 0 && k < i; k++)
		if (j->slots[k].vm == s->vm)
			return 0;
	return 1;
}

/* Nothing else writes it; but a bit that fell over shall not become a signal to somebody's process. */
static int plausible(const struct journal *j)
{
	for (unsigned i = 0; i < j->n; i++)
		if (!plausible_slot(j, i))
			return 0;
	return j->head.mount <= JOURNAL_DELETING && j->head.net <= JOURNAL_DELETING;
}

int journal_open(int dir_fd, unsigned vms_max, struct journal **ret, struct err *e)
{
	_cleanup_(journal_closep) struct journal *j = calloc(1, sizeof(*j) + vms_max * sizeof(j->slots[0]));
	_cleanup_free_ char *boot_id = NULL;
	size_t size = HEAD_ROOM + vms_max * sizeof(struct journal_vm);
	struct stat st;
	int r;

	if (!j)
		return err_sys(e, -ENOMEM, "journal");
	j->n = vms_max;
	j->fd = openat(dir_fd, "journal", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (j->fd < 0 || fstat(j->fd, &st) < 0)
		return err_sys(e, -errno, "journal");
	r = io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot_id, NULL, e);
	if (r < 0)
		return r;
	boot_id[strcspn(boot_id, "\n")] = '\0';
	/* Of this boot, it names things that are there: one that can't be used is never written over. */
	if ((size_t)st.st_size >= sizeof(j->head) && io_read_full(j->fd, &j->head, sizeof(j->head)) == 0 &&
		memcmp(j->head.magic, MAGIC, MAGIC_KIND) == 0 &&
		strncmp(j->head.boot_id, boot_id, sizeof(j->head.boot_id)) == 0) {
		if ((size_t)st.st_size != size || memcmp(j->head.magic, MAGIC, sizeof(MAGIC)) != 0 ||
			lseek(j->fd, HEAD_ROOM, SEEK_SET) < 0 ||
			io_read_full(j->fd, j->slots, vms_max * sizeof(j->slots[0])) < 0 || !plausible(j))
			return err_set(e, -EUCLEAN,
				"the helper's journal is damaged, or another version's: banger down with "
				"that version, "
				"or restart the machine");
	} else {
		r = begin(j, boot_id, e);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(j);
	return 0;
}

struct journal *journal_close(struct journal *j)
{
	if (j) {
		close_fd(j->fd);
		free(j);
	}
	return NULL;
}

struct journal_head *journal_head(struct journal *j)
{
	return &j->head;
}

int journal_write_head(struct journal *j, struct err *e)
{
	return write_at(j, &j->head, sizeof(j->head), 0, e);
}

struct journal_vm *journal_find(struct journal *j, uint32_t vm)
{
	for (unsigned i = 0; i < j->n; i++)
		if (j->slots[i].vm == vm && vm != 0)
			return &j->slots[i];
	return NULL;
}

int journal_take(struct journal *j, uint32_t vm, struct journal_vm **ret, struct err *e)
{
	struct journal_vm *slot = journal_find(j, vm);

	for (unsigned i = 0; !slot && i < j->n; i++)
		if (j->slots[i].vm == 0)
			slot = &j->slots[i];
	if (!slot)
		return err_set(e, -ENOSPC, "%u VMs run already, as many as a bridge takes", j->n);
	*ret = slot;
	slot->vm = vm;
	return 0;
}

struct journal_vm *journal_next(struct journal *j, uint32_t after)
{
	struct journal_vm *best = NULL;

	for (unsigned i = 0; i < j->n; i++)
		if (j->slots[i].vm > after && (!best || j->slots[i].vm < best->vm))
			best = &j->slots[i];
	return best;
}

void journal_settle(struct journal_vm *slot)
{
	if (slot->tap == JOURNAL_NONE && slot->nat == JOURNAL_NONE && slot->process == JOURNAL_NONE &&
		slot->disk == JOURNAL_NONE && slot->jail == JOURNAL_NONE)
		memset(slot, 0, sizeof(*slot));
}

int journal_write(struct journal *j, struct journal_vm *slot, struct err *e)
{
	off_t at = HEAD_ROOM + (slot - j->slots) * (off_t)sizeof(*slot);

	journal_settle(slot);
	return write_at(j, slot, sizeof(*slot), at, e);
}

int journal_empty(struct journal *j)
{
	return !journal_next(j, 0) && j->head.mount == JOURNAL_NONE && j->head.net == JOURNAL_NONE;
}
