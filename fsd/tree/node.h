/*
 * Node numbers: computed from what a node is, valid over restarts of the daemon, never used again (rule 9).
 *
 *   class 3 | kind 7 | row 42 | attribute 12     class 0: banger's own nodes; attribute 0 is the directory
 *   class 3 | vm 21  | inode 32 | generation 8   class 1: files of a guest's work disk
 *   class 3 | kind 7 | serial 16 | row 26 | attribute 12   class 2: another number of a node of class 0
 *   class 3 | vm 21  | inode 32 | generation 8   class 3: folders of the work disk, seen from root/: a folder has one place in the kernel's eyes
 *   class 3 | vm 21  | key 40                    class 4: all else in root/, by the key that the guest's agent gave it (guest/node.h)
 *
 * The root is 1, as FUSE wants it. Any thread.
 */
#ifndef BANGER_TREE_NODE_H
#define BANGER_TREE_NODE_H

#include <stdbool.h>
#include <stdint.h>

#define NODE_ROOT         1u
#define NODE_ROW_BITS     42
#define NODE_ROW_MAX      ((1ull << NODE_ROW_BITS) - 1)
#define NODE_ATTR_MAX     0xfffu
#define NODE_KIND_MAX     0x7fu
#define NODE_GUEST_VM_MAX 0x1fffffu

/* Kinds of directories; the numbers are kept in databases and by whoever holds the mount open: never change one. */
enum node_kind {
	KIND_NONE,
	KIND_ROOT,
	KIND_STREAM,
	KIND_CONFIG,
	KIND_HOST,
	KIND_OPS,
	KIND_OP,
	KIND_VMS,
	KIND_VM,
	KIND_VM_STREAM,
	KIND_VM_WAIT,
	KIND_EXECS,
	KIND_EXEC,
	KIND_EXEC_STREAM,
	KIND_EXEC_WAIT,
	KIND_IMAGES,
	KIND_IMAGE,
	KIND_IMAGE_USERS,
	KIND_IMAGE_USER,
	KIND_KERNELS,
	KIND_KERNEL,
	KIND_KERNEL_USERS,
	KIND_KERNEL_USER,
	KIND_COUNT,
};

/* Which of a guest's files: the classes 1, 3 and 4. */
enum node_space {
	NODE_WORK,
	NODE_WORK_IN_ROOT,
	NODE_TREE,
};

struct node {
	bool guest;
	enum node_space space; /* of a guest's file, as are: */
	uint32_t vm, ino;      /* INO of class 4: the low 32 bits of the key */
	uint8_t generation;    /* of class 4: the high 8 */
	enum node_kind kind;
	uint64_t row;
	uint16_t attr;
};

uint64_t node_number(enum node_kind kind, uint64_t row, uint16_t attr);
uint64_t node_guest_number(uint32_t vm, enum node_space space, uint32_t ino, uint32_t generation);
/*
 * Another number for the node NUMBER, by SERIAL; NUMBER itself where its row is too high. The kernel lets one writer at a time into an inode with
 * direct I/O (fs/fuse/file.c, fuse_dio_lock: a write past the end is exclusive, and files of size 0 have no other), so a
 * file whose writes wait is another inode to each who opens it.
 */
uint64_t node_alias(uint64_t number, uint64_t serial);
/*
 * NUMBER's place in a table of so many PLACES (fewer than 2^32), by the upper bits of its product with the golden ratio: numbers in a row lie apart (Fibonacci
 * hashing; Knuth, The Art of Computer Programming 6.4).
 */
static inline uint64_t node_place(uint64_t number, uint32_t places)
{
	return (number * 0x9e3779b97f4a7c15 >> 32) * places >> 32;
}
/* False: no node has this number. An alias's is what it stands for. */
bool node_parse(uint64_t number, struct node *ret);

/* Rows that are made of two: a job of a VM, a VM that uses an object. */
#define NODE_MINOR_BITS 22
#define NODE_MINOR_MAX  ((1u << NODE_MINOR_BITS) - 1)
static inline uint64_t node_row(uint64_t major, uint64_t minor)
{
	return major << NODE_MINOR_BITS | minor;
}

static inline uint32_t node_major(uint64_t row)
{
	return (uint32_t)(row >> NODE_MINOR_BITS);
}

static inline uint32_t node_minor(uint64_t row)
{
	return (uint32_t)(row & NODE_MINOR_MAX);
}

#endif
