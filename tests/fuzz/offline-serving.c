/*
 * A disk that lies, served: each request is answered, or refused; nothing is read or written beyond the disk and the answer. The input is what is written over a
 * good disk: block (of those that hold anything), offset in it (2 bytes), number of bytes, these; then, behind a number of 0 bytes, requests: type, file (of those
 * that there are), and the rest of the payload, 24 bytes. Without checksums, which would hide all else.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/image.h"
#include "offline/serving.h"

#define DISK_SIZE  (16u << 20)
#define BLOCKS_MAX 256
#define REST       24
#define REQUESTS   64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *good, *disk; /* DISK is mapped, shared with FD */
static int fd = -1;
static uint32_t blocks[BLOCKS_MAX];
static size_t count;
static struct serving serving;

static void need(bool yes)
{
	if (!yes)
		abort();
}

static void ask(uint16_t type, const void *payload, size_t n)
{
	struct agent_header h = {.length = (uint32_t)n, .type = type, .code = AGENT_READDIR_PLUS};
	size_t answer = 0;

	if (serving_do(&serving, &h, payload, &answer) == 0)
		need(answer <= sizeof(serving.answer));
}

/* Some files with what libext2fs has a way of its own for. */
static void fill(void)
{
	struct file dir, f;
	ext2_ino_t ino;

	need(volume_open(fd, 0, true, &serving.work) == 0 &&
		file_load(serving.work, EXT2_ROOT_INO, &dir) == 0 && dir_find(&dir, "workspace", &ino) == 0 &&
		file_load(serving.work, ino, &dir) == 0 && volume_change(serving.work) == 0);
	for (int i = 0; i < 6; i++) {
		static const uint32_t modes[] = {S_IFREG, S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFREG};
		char name[24];

		snprintf(name, sizeof(name), "name-%d", i);
		need(inode_make(&dir, modes[i] | 0644, 0, 0, &f) == 0);
		for (uint64_t at = 0; S_ISREG(modes[i]) && at < (i == 5 ? 40u : 2u); at++)
			need(contents_write(&f, at * 12288, name, sizeof(name)) == 0);
		if (S_ISLNK(modes[i]))
			need(contents_write(&f, 0,
				     "a target that is not within the inode, being longer than 60 bytes",
				     66) == 0);
		need(dir_add(&dir, name, &f) == 0);
	}
	need(volume_settle(serving.work) == 0);
	serving.work = volume_close(serving.work);
}

static void begin(void)
{
	uint32_t features;

	fd = memfd_create("disk", MFD_CLOEXEC);
	need(fd >= 0 && disk_make_work(fd, DISK_SIZE, NULL) == 0);
	disk = mmap(NULL, DISK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	good = malloc(DISK_SIZE);
	need(disk != MAP_FAILED && good);
	/* s_feature_ro_compat without METADATA_CSUM */
	memcpy(&features, disk + 1024 + 0x64, sizeof(features));
	features &= ~0x400u;
	memcpy(disk + 1024 + 0x64, &features, sizeof(features));
	fill();
	memcpy(good, disk, DISK_SIZE);
	for (uint32_t i = 0; i < DISK_SIZE / 4096 && count < BLOCKS_MAX; i++)
		for (size_t at = 0; at < 4096; at++)
			if (disk[i * 4096 + at]) {
				blocks[count++] = i;
				break;
			}
}

static void requests(const uint8_t *data, size_t size)
{
	uint8_t payload[8 + REST];

	for (int i = 0; i < REQUESTS && size >= 2 + REST; i++) {
		uint32_t id[2] = {data[1] % 20, data[1] < 128   ? 0
						: data[1] < 192 ? AGENT_TAG_TREE | 1
								: AGENT_TAG_TREE | 2};

		memcpy(payload, id, sizeof(id));
		memcpy(payload + 8, data + 2, REST);
		ask(data[0], payload, sizeof(payload));
		data += 2 + REST;
		size -= 2 + REST;
	}
}

/* What a reader of all does, in each of the disk's parts. */
static void usual(void)
{
	static const uint8_t types[] = {AGENT_FS_GETATTR, AGENT_FS_READLINK, AGENT_FS_READ, AGENT_FS_READDIR,
		AGENT_FS_LISTXATTR, AGENT_FS_STATFS, AGENT_FS_WRITE, AGENT_FS_RMDIR};
	uint8_t payload[8 + REST];

	for (uint32_t ino = 0; ino < 20; ino++)
		for (size_t i = 0; i < ELEMENTSOF(types); i++) {
			memset(payload, 0, sizeof(payload));
			memcpy(payload, &ino, sizeof(ino));
			payload[17] = 0x10; /* size, where there is one behind an offset */
			ask(types[i], payload, sizeof(payload));
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rlimit small = {DISK_SIZE + (1u << 20), RLIM_INFINITY};

	if (fd < 0) {
		begin();
		/* What lies beyond the disk is no room for it. */
		setrlimit(RLIMIT_FSIZE, &small);
	}
	while (size >= 4 && data[3] > 0) {
		uint32_t block = blocks[data[0] % count];
		size_t at = (size_t)(data[1] | data[2] << 8) % 4096, n = data[3];

		data += 4;
		size -= 4;
		n = n < size ? n : size;
		n = n < 4096 - at ? n : 4096 - at;
		memcpy(disk + block * 4096ul + at, data, n);
		data += n;
		size -= n;
	}
	if (volume_open(fd, 0, true, &serving.work) == 0) {
		if (volume_open(fd, SERVING_IMAGE, false, &serving.image) == 0 &&
			volume_open(fd, SERVING_OVER, false, &serving.over) == 0)
			serving.upper = EXT2_ROOT_INO;
		usual();
		requests(size > 4 ? data + 4 : data, size > 4 ? size - 4 : 0);
		serving_unpin_all(&serving);
		volume_settle(serving.work);
		serving.work = volume_close(serving.work);
		serving.over = volume_close(serving.over);
		serving.image = volume_close(serving.image);
	}
	need(ftruncate(fd, DISK_SIZE) == 0);
	memcpy(disk, good, DISK_SIZE);
	return 0;
}
