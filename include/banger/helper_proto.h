/*
 * What banger-fsd may ask of banger-helper: the whole of it.
 *
 * A SOCK_SEQPACKET unix socket (PLACE_HELPER_SOCKET). One request is one datagram of exactly sizeof(struct
 * helper_request), answered by one datagram of exactly sizeof(struct helper_reply), in order; descriptors travel with
 * either as SCM_RIGHTS, their number fixed per call. Anything else (length, version, magic, reserved bytes not zero, an
 * unknown call, a wrong number of descriptors) ends the connection. The caller is who SO_PEERCRED says: the instance's
 * owner or root.
 *
 * Nouns, never names: a request holds an enum, integers and a VM's number. The helper makes every path, device,
 * interface and rule itself. Host byte order (one machine), no padding (static assertions below).
 */
#ifndef BANGER_HELPER_PROTO_H
#define BANGER_HELPER_PROTO_H

#include <stdint.h>
#include <stdio.h>

#define HELPER_MAGIC   0x52474e42u /* "BNGR" */
#define HELPER_VERSION 1

/* A VM's number: its row in fsd's database, never used again. Six digits: it is part of an interface name. */
#define HELPER_VM_MAX 999999u

enum helper_call {
	HELPER_HELLO = 1, /* who is there, and this instance's network */
	HELPER_MOUNT,     /* reply carries the /dev/fuse descriptor; may be given one to keep */
	HELPER_UNMOUNT,
	HELPER_NET_UP,   /* bridge, its address, forwarding, the nft table: all idempotent */
	HELPER_NET_DOWN, /* -EBUSY while a VM's tap is there */
	HELPER_TAP,      /* a tap for VM on the bridge; the helper keeps its descriptor until LAUNCH */
	HELPER_NAT,      /* masquerade VM's address, or stop doing it */
	HELPER_LAUNCH,   /* reply carries the VMM's pidfd */
	HELPER_SIGNAL,   /* to VM's VMM, by pidfd */
	HELPER_RELEASE,  /* forget VM: tap, nat, journal; -EBUSY while its VMM lives */
	HELPER_LIST,     /* the VMs the journal knows, one a call */
	HELPER_PIDFD,    /* reply carries a pidfd of VM's living VMM (a daemon that comes back) */
	HELPER_STORAGE, /* whether this kernel has device-mapper's snapshots; -ENODEV: the text says why not */
	HELPER_DISK, /* VM's root disk by device-mapper: a snapshot over its image; reply carries the device */
	HELPER_DISK_STATUS, /* how full that is */
	HELPER_JAIL, /* a folder for the sockets of VM's jailed VMM; takes the caller's mount namespace, kept until LAUNCH */
	HELPER_RATE, /* VM's tap carries no more than so many bytes a second each way; -EOPNOTSUPP: the text says what the kernel lacks */
	HELPER_CALL_MAX = HELPER_RATE,
};

/* How a VM's root is made writable. */
enum helper_storage {
	HELPER_STORAGE_OVERLAY = 1, /* by an overlay in the guest: the VMM gets image and overlay disk */
	HELPER_STORAGE_DM,          /* by a snapshot of DISK: the VMM gets that device in the place of both */
};

/* What DISK is to do. */
enum helper_disk_what {
	HELPER_DISK_OFF,   /* no descriptors: it is removed, if it is there */
	HELPER_DISK_READ,  /* made, if it isn't there; the reply's descriptor is for reading */
	HELPER_DISK_WRITE, /* likewise; for reading and writing */
};

/* Order of the descriptors of DISK. */
enum helper_disk_fd {
	DISK_FD_IMAGE, /* regular file, read-only: the root image */
	DISK_FD_COW, /* regular file, read-write: device-mapper's persistent store of what differs from it */
	DISK_FD_COUNT,
};

enum helper_disk_state {
	HELPER_DISK_OK = 1,
	HELPER_DISK_FULL, /* what would take more of the cow fails; all that was written is there */
	HELPER_DISK_INVALID, /* the cow couldn't be written: what was written before is in it, and nothing can be read */
	HELPER_DISK_LOST, /* somebody has put another table into the device */
};

enum helper_signal {
	HELPER_SIGTERM = 1,
	HELPER_SIGKILL,
	HELPER_SIGSTOP,
	HELPER_SIGCONT,
};

enum helper_accel {
	HELPER_ACCEL_TCG = 1,
	HELPER_ACCEL_KVM,
};

enum helper_engine {
	HELPER_ENGINE_QEMU = 1,
	HELPER_ENGINE_FIRECRACKER, /* in its jail: JAIL comes before LAUNCH */
};

/* Where a jailed VMM has its sockets: in the folder PLACE_JAILS/NUMBER, which is its HELPER_JAIL_SOCKETS. */
#define HELPER_JAIL_SOCKETS "sockets"
#define HELPER_JAIL_API     "api.sock"
#define HELPER_JAIL_VSOCK   "vsock.sock"
/* And two fifos, which are there from the launch on: the owner may read what it tells. */
#define HELPER_JAIL_LOG     "log"
#define HELPER_JAIL_METRICS "metrics"
/* What it finds besides: kernel, initramfs, and the disks by their serials (guest_config.h), in its root. */
#define HELPER_JAIL_KERNEL "kernel"
#define HELPER_JAIL_INITRD "initrd"

/* Order of the descriptors of LAUNCH; all are needed, but by an engine in a jail none from QMP on. */
enum helper_launch_fd {
	LAUNCH_FD_KERNEL, /* regular file, read-only: ELF vmlinux or bzImage */
	LAUNCH_FD_INITRD, /* regular file or memfd, read-only */
	LAUNCH_FD_IMAGE,  /* regular file, read-only: the root image */
	LAUNCH_FD_OVERLAY, /* regular file, read-write: the VM's own disk over the image; with HELPER_STORAGE_DM its cow */
	LAUNCH_FD_WORK,    /* regular file, read-write: the work disk */
	LAUNCH_FD_CONSOLE, /* regular file, read-write: where the reaper keeps the console */
	LAUNCH_FD_EXIT,    /* regular file, read-write: where the reaper writes how it ended */
	LAUNCH_FD_TTY,     /* listening AF_UNIX stream socket: the live console, served by the reaper */
	LAUNCH_FD_QMP,     /* listening AF_UNIX stream socket: QMP */
	LAUNCH_FD_AGENT, /* listening AF_UNIX stream socket: the agent's virtio-serial port, where it has no vsock */
	LAUNCH_FD_COUNT,
	LAUNCH_FD_COUNT_JAILED = LAUNCH_FD_QMP,
};

/* Bytes a second, where there is a limit. */
#define HELPER_RATE_MIN (64ull << 10)
#define HELPER_RATE_MAX (1ull << 40)

struct helper_request {
	uint32_t magic;
	uint16_t version;
	uint16_t call; /* enum helper_call */
	uint64_t op;   /* operation id, for the log; 0: none */
	uint32_t vm;   /* 1..HELPER_VM_MAX; 0 where no VM is meant */
	uint32_t reserved;
	union {
		struct {
			uint32_t address; /* the guest's, host byte order, inside the instance's network */
			uint32_t on;      /* 0 or 1 */
		} nat;
		struct {
			uint32_t address; /* the guest's: the tap may send from it alone */
			uint32_t reserved;
		} tap;
		struct {
			uint64_t bytes; /* a second: HELPER_RATE_MIN to HELPER_RATE_MAX; 0: no limit */
		} rate;
		struct {
			uint64_t memory;  /* bytes, a multiple of 1 MiB */
			uint64_t tsc_khz; /* host TSC, for TCG (facts-vmm 4.3); 0: leave the parameter out */
			uint64_t console_max; /* bytes of console kept */
			/* A second, on each disk, at most HELPER_RATE_MAX; 0: no limit. A jailed engine is told itself (0 here). */
			uint64_t disk_rate, disk_ops;
			uint32_t vcpus;
			uint32_t accel;      /* enum helper_accel */
			uint32_t no_network; /* 1: no tap, and in a jail no disks (a probe) */
			uint32_t storage;    /* enum helper_storage */
			uint32_t engine;     /* enum helper_engine */
			uint32_t
				vsock; /* 1: where this host can, a vsock instead of the agent's port; 0 of a jailed engine, which has its own */
		} launch;
		struct {
			uint64_t
				size; /* of the device, bytes; a multiple of 4096, at least the image's. 0 with OFF */
			uint32_t what; /* enum helper_disk_what */
			uint32_t reserved;
		} disk;
		struct {
			uint32_t signal; /* enum helper_signal */
			uint32_t reserved;
		} signal;
		struct {
			uint32_t after; /* the VM number after which to go on; 0 first */
			uint32_t reserved;
		} list;
		uint8_t bytes[96];
	} u;
};

struct helper_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t call;
	uint64_t op;
	int32_t code; /* 0 or -errno */
	uint32_t vm;
	union {
		struct {
			uint32_t network;    /* host byte order, of the instance's subnet */
			uint32_t prefix;     /* its length */
			uint32_t gateway;    /* the bridge's address: first of the subnet */
			uint32_t mount_held; /* 1: the helper holds a live /dev/fuse for this instance */
			int32_t pid;         /* the helper's */
			uint32_t owner;      /* uid */
			char version[32];    /* NUL-terminated */
			char bridge[16];     /* interface name, NUL-terminated */
			uint8_t prefix6[8];  /* of the instance's IPv6 /64; zeros: this host has no IPv6 */
		} hello;
		struct {
			uint32_t adopted; /* 1: the mount was there already, its INIT done */
			uint32_t reserved;
		} mount;
		struct {
			int32_t pid; /* the VMM's */
			int32_t reaper_pid;
			uint64_t starttime; /* field 22 of /proc/PID/stat */
			char tap[16];       /* its interface's name, NUL-terminated; "" without a network */
			uint32_t cid;       /* of LAUNCH: its vsock's number; 0: it has the port */
			uint32_t reserved;
		} launch; /* of PIDFD also */
		struct {
			uint32_t has_tap, has_nat, has_process, alive;
			int32_t pid;
			uint32_t reserved;
			uint64_t starttime;
		} list; /* code -ENOENT: no further VM */
		struct {
			uint64_t used, size; /* bytes of the cow */
			uint32_t state;      /* enum helper_disk_state */
			uint32_t reserved;
		} disk; /* of DISK_STATUS */
		uint8_t bytes[128];
	} u;
	char text[256]; /* why, when code is not 0: one line, NUL-terminated */
};

_Static_assert(sizeof(struct helper_request) == 24 + 96, "no padding");
_Static_assert(sizeof(struct helper_reply) == 24 + 128 + 256, "no padding");

/* The MAC of VM's interface: QEMU's prefix and the VM's number. 18 bytes with the NUL. */
static inline void helper_vm_mac_bytes(uint32_t vm, uint8_t ret[6])
{
	const uint8_t mac[6] = {0x52, 0x54, 0, (uint8_t)(vm >> 16), (uint8_t)(vm >> 8), (uint8_t)vm};

	memcpy(ret, mac, sizeof(mac));
}

static inline void helper_vm_mac(uint32_t vm, char ret[18])
{
	uint8_t m[6];

	helper_vm_mac_bytes(vm, m);
	snprintf(ret, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* Where systemd runs the machine: VM's scope of INSTANCE ("": the default one), in HELPER_SLICE. 48 bytes with the NUL. */
#define HELPER_SLICE "banger.slice"
static inline void helper_vm_scope(const char *instance, uint32_t vm, char ret[48])
{
	snprintf(ret, 48, "banger%s%.16s-vm-%u.scope", *instance ? "-" : "", instance, vm);
}

/*
 * IPv6: the host is the first of the instance's /64, and VM is 0x01000000 + its number in it: no other VM's, and told by it which one it is.
 */
static inline void helper_gateway_ip6(const uint8_t prefix[8], uint8_t ret[16])
{
	for (int i = 0; i < 16; i++)
		ret[i] = i < 8 ? prefix[i] : i == 15;
}

static inline void helper_vm_ip6(const uint8_t prefix[8], uint32_t vm, uint8_t ret[16])
{
	helper_gateway_ip6(prefix, ret);
	ret[12] = 1;
	ret[13] = (uint8_t)(vm >> 16);
	ret[14] = (uint8_t)(vm >> 8);
	ret[15] = (uint8_t)vm;
}

/* The link-local address that Linux gives the interface of VM's MAC (RFC 4291, appendix A). */
static inline void helper_vm_linklocal(uint32_t vm, uint8_t ret[16])
{
	const uint8_t address[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe,
		(uint8_t)(vm >> 16), (uint8_t)(vm >> 8), (uint8_t)vm};

	for (int i = 0; i < 16; i++)
		ret[i] = address[i];
}

#endif
