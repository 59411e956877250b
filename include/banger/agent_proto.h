/*
 * The agent's protocol: banger-fsd (host) and banger-guest (agent) over one byte stream: a virtio-serial port, or a
 * vsock connection. Little-endian, packed by hand below; both sides treat the other as hostile.
 *
 * A frame is a header of 12 bytes and LENGTH bytes of payload:
 *
 *   u32 length    of the payload, at most AGENT_PAYLOAD_MAX, else the stream is broken and is closed
 *   u16 type      enum agent_type
 *   u16 code      in a reply: 0 or a Linux errno (positive); otherwise flags of the type
 *   u32 id        the request's, chosen by the host, not 0; the agent's answers carry it
 *
 * An agent that was given a token (banger/guest_config.h) takes nobody for its host who doesn't say it in each HELLO: the guest's vsock is there for
 * all users of the host. What comes from others before is neither a frame nor answered, and on a vsock such a connection is closed.
 *
 * The host sends HELLO first whenever it connects: a 16-byte random cookie (AGENT_HELLO) that the agent sends back in
 * its own HELLO; the host throws away everything before that frame, so bytes left in the channel by an earlier
 * connection cannot be mistaken. At HELLO the agent drops unfinished file requests of the connection
 * before; pins stay, since what is open on the host stays open over its daemon's end; jobs go on, and their output waits. A HELLO with the cookie of the one before is only answered again: the host
 * repeats it each second until it hears something. A host that died in the middle of a frame may have left the agent waiting for the rest of
 * it: after 5 s without an answer the next host sends AGENT_HEADER + AGENT_PAYLOAD_MAX zeros before its HELLO; the agent passes over
 * what can't be a frame (type 0 or unknown, too long) byte by byte.
 *
 * An agent that takes the place of one that was killed says so on a port, which doesn't close with it: a HELLO of 16 zeros, unasked. What the one before was
 * asked is not answered any more; its jobs have ended with it, and nothing is pinned.
 *
 * Every request gets exactly one reply of type AGENT_REPLY, except where a type says otherwise. Requests on files may be
 * answered out of order.
 */
#ifndef BANGER_AGENT_PROTO_H
#define BANGER_AGENT_PROTO_H

#include <stdint.h>

#define AGENT_HEADER      12u
#define AGENT_PAYLOAD_MAX (256u * 1024)
#define AGENT_VERSION     1u
#define AGENT_COOKIE      16u
#define AGENT_TOKEN       32u

enum agent_type {
	/* payload host->agent: u32 version, cookie[16], and where the agent has one the token[32]. agent->host: version and cookie, then u64 boot
	   time (CLOCK_REALTIME usec), then text of the kernel's boot_id (36 bytes). id 0. */
	AGENT_HELLO = 1,
	AGENT_REPLY,
	/* no payload; an empty reply. Liveness. */
	AGENT_PING,
	/* reply payload: flat keyed text: cpu_usec, memory_total, memory_available, memory_free, swap_used, processes,
	   load1 (x100), disk_total, disk_used (work disk), root_total, root_used, net_rx_bytes, net_tx_bytes,
	   uptime_usec. Bytes and microseconds. */
	AGENT_STATS,
	/* reply payload: flat keyed text: agent VERSION, hostname NAME, init running|none, boot_id, network up|down,
	   jobs N (that run). */
	AGENT_HEALTH,
	/* payload: u32 mode (0 power off, 1 reboot is never used: banger restarts by stop and start), asks init to shut down in
	   order; when it has not after u32 msec, the agent itself syncs, unmounts and powers off. Reply is sent at once. */
	AGENT_POWEROFF,
	/* sync(2), then the reply. */
	AGENT_SYNC,
	/* payload: u64 CLOCK_REALTIME usec: the host's time when this was sent, which the guest's clock is to follow. */
	AGENT_CLOCK,

	/*
	 * Jobs. EXEC's id names the job until its EXIT. Payload: u32 flags (AGENT_EXEC_*), u16 rows,
	 * u16 cols, u32 argc, u32 envc, then argc + envc + 2 NUL-terminated strings: the arguments, the environment
	 * ("K=V", added to the agent's own base environment), the working directory (empty: GUEST_WORKSPACE when there,
	 * else /root), the user (empty: root; a name or number from the guest's /etc/passwd). The reply comes when the
	 * program runs (exec succeeded) or could not be started (errno of execve).
	 */
	AGENT_EXEC = 16,
	AGENT_STDIN, /* host->agent, no reply: bytes; an empty payload is end of file. Only within the credit given. */
	AGENT_STDOUT, /* agent->host, no reply: bytes, within the credit; empty: end of file */
	AGENT_STDERR, /* likewise; never of a tty job */
	/* either way, no reply: u32 stream (0 stdin, 1 stdout, 2 stderr), u32 bytes more that may be sent. Each stream
	   begins with AGENT_WINDOW. The receiver gives back what it has consumed; what it hasn't is kept, for ATTACH. */
	AGENT_CREDIT,
	AGENT_SIGNAL, /* payload: u32 signal (1..64), to the job's process group (with a tty: the foreground one) */
	AGENT_WINSIZE, /* u16 rows, u16 cols */
	/* agent->host, no reply: u32 kind (0 exited, 1 killed by signal, 2 lost), u32 code or signal. After the last STDOUT and
	   STDERR of the job, or at most 2 s after the process ended if something else keeps them open. */
	AGENT_EXIT,
	/*
	 * host->agent, no reply: EXIT was heard, and is kept: the job is forgotten. An agent that has told a host of it, and not
	 * heard this, tells the next one again.
	 */
	AGENT_REAP = 80,
	/*
	 * A new host (another cookie) takes up a job of the one before: u64 bytes of stdout, u64 of stderr that it has. Until it does the job
	 * runs on, and is held up when it writes more than a window. The reply, u64 and u64, says from which byte on they come (later than asked for where those are gone), u32 bytes
	 * of stdin that may be sent. Each stream's credit begins anew. ESRCH: there is no such job. ID 0, without a payload or a reply: jobs that were not
	 * taken up are nobody's: their input ends, what they write is thrown away.
	 */
	AGENT_ATTACH,

	/*
	 * Files of the work disk (GUEST_WORKSPACE is made at boot). A file is named by its inode number there and what
	 * tells it from an earlier file of that number: u32 ino, u32 tag; tag 0 means any, otherwise it is 1 + the low 8 bits of the
	 * inode's generation (as much as a node number of the host's has room for). ino 0 is the workspace itself.
	 * All other files that the agent sees from its root have a key of 40 bits, which the agent gives them and keeps while it
	 * has room: ino is the low 32, tag AGENT_TAG_TREE and the high 8. {0, AGENT_TAG_TREE} is the root. A key that it no longer knows is
	 * ESTALE, and the file has the same key when it is looked up again. Names are one component:
	 * u16 length, bytes; never "", ".", "..", nothing with '/' or NUL (EINVAL). ESTALE: no such file any more. All replies that say
	 * ATTR carry struct agent_attr.
	 */
	AGENT_FS_LOOKUP = 32, /* file dir, name -> ATTR */
	AGENT_FS_GETATTR,     /* file -> ATTR */
	AGENT_FS_SETATTR, /* file, u32 valid (AGENT_SET_*), u32 mode, u32 uid, u32 gid, u64 size, s64 atime sec, u32 nsec,
				 s64 mtime sec, u32 nsec -> ATTR. Times: UTIME_NOW, UTIME_OMIT as in utimensat(2) */
	AGENT_FS_READLINK, /* file -> bytes of the target */
	AGENT_FS_MKNOD, /* file dir, u32 mode with type (also regular files), u32 rdev, u32 uid, u32 gid, name -> ATTR */
	AGENT_FS_MKDIR,   /* file dir, u32 mode, u32 uid, u32 gid, name -> ATTR */
	AGENT_FS_SYMLINK, /* file dir, u32 uid, u32 gid, name, u16 length + target -> ATTR */
	AGENT_FS_LINK,    /* file, file newdir, name -> ATTR */
	AGENT_FS_UNLINK,  /* file dir, name */
	AGENT_FS_RMDIR,   /* file dir, name */
	AGENT_FS_RENAME,  /* file dir, file newdir, u32 flags (renameat2), name, name */
	AGENT_FS_OPEN, /* file or folder, u32 flags: pins it (readable and, as far as the flags ask, writable) so that it outlives its
				 name; O_TRUNC is honoured -> ATTR */
	AGENT_FS_CREATE, /* file dir, u32 flags, u32 mode, u32 uid, u32 gid, name -> ATTR: mknod and pin in one; O_EXCL honoured */
	AGENT_FS_RELEASE, /* file: one pin less */
	AGENT_FS_READ, /* file, u64 offset, u32 size (<= AGENT_PAYLOAD_MAX) -> bytes; fewer than asked is the end of the file */
	AGENT_FS_WRITE, /* file, u64 offset, u32 flags (AGENT_WRITE_APPEND), bytes to the end of the payload -> u32 written */
	AGENT_FS_FSYNC, /* file, u32 datasync */
	AGENT_FS_READDIR, /* file dir, u64 cookie (0 first), u32 size -> entries: u64 cookie of the next, u32 ino, u32 tag
				 (0: not known), u8 d_type, u8 0, u16 length, name; no entry: the end. With flag code
				 AGENT_READDIR_PLUS each entry is followed by struct agent_attr. "." and ".." are left out. */
	AGENT_FS_STATFS,      /* file -> u64 blocks, bfree, bavail, files, ffree, u32 bsize, u32 namelen */
	AGENT_FS_GETXATTR,    /* file, u32 size, name -> value, or (size 0) u32 length. ERANGE when larger */
	AGENT_FS_SETXATTR,    /* file, u32 flags, name, u32 length, value. user.* only (EPERM else) */
	AGENT_FS_LISTXATTR,   /* file -> NUL-terminated names */
	AGENT_FS_REMOVEXATTR, /* file, name */
	AGENT_FS_FALLOCATE,   /* file, u32 mode, u64 offset, u64 length */
	AGENT_FS_LSEEK,       /* file, u64 offset, u32 whence (SEEK_DATA, SEEK_HOLE) -> u64 offset */
	AGENT_FS_COPY =
		57, /* file from, file to, u64 offset in FROM, u64 in TO, u32 size -> u32 copied (copy_file_range(2)) */
	/*
	 * u32 fresh: 1: nothing that was opened before is open any more, all pins go. Tell of what others change on the work disk, until another host
	 * says HELLO; EOPNOTSUPP: it can't be seen. Changes by the requests of this host are not told.
	 */
	AGENT_FS_WATCH,
	/*
	 * agent->host, no reply, id 0: u32 flags (AGENT_CHANGED_*), then any number of files of the work disk whose contents or attributes have
	 * changed; the last of it are as many struct agent_changed_name as FLAGS says. It comes before whatever a process that made the change says
	 * or ends with (STDOUT, EXIT).
	 */
	AGENT_FS_CHANGED,
	/*
	 * A connection to a TCP port of the guest's own, on its loopback (127.0.0.1, or else ::1), by the frames of a job: STDIN to the port, STDOUT
	 * from it, an empty payload each is a half that was closed; CREDIT; SIGNAL (any) resets it, unanswered. Payload: u16 port. The
	 * reply comes when it is connected, or with connect(2)'s errno. EXIT: kind 0: both halves are closed; 2: it was reset. It ends with its host.
	 */
	AGENT_CONNECT = 96,
	/*
	 * What listens: u32 flags (AGENT_PORTS_*) -> any number of struct agent_port, each followed by its comm and its command. Answers within a
	 * second; at most AGENT_PORTS_MAX.
	 */
	AGENT_PORTS,
	/* u32 msec, 0: no longer: look that often whether other TCP ports listen than before, and say so by AGENT_PORTS_CHANGED. Ends with its host. */
	AGENT_PORTS_WATCH,
	AGENT_PORTS_CHANGED,  /* agent->host, no payload, no reply, id 0 */
	AGENT_TYPE_END = 128, /* no type is as large */
};

#define AGENT_EXEC_TTY   1u
#define AGENT_EXEC_STDIN 2u /* without it the job's stdin is /dev/null */
/* Where its PATH or its user's ~/.local/bin has mise, as `mise exec -- ARGUMENTS`, which trusts the files of GUEST_WORKSPACE. */
#define AGENT_EXEC_MISE 4u
/* Bits 8 to 15: the signal that the job is told to stop by at POWEROFF, before anything else is, 0: none in particular. */
#define AGENT_EXEC_STOP_SHIFT 8
#define AGENT_WINDOW          (256u * 1024)
#define AGENT_REMOVED_MAX     256 /* folders without a name that can still be looked at: the last ones */
#define AGENT_WRITE_APPEND    1u
#define AGENT_READDIR_PLUS    1u
/*
 * In the flags of a request on files: its payload ends with u64, a number that the host gives to nothing else. A request that has it and comes again
 * (from the next daemon, which does not know whether the one before was answered) is answered as before and not done again, while the agent
 * remembers: the last AGENT_ONCE_KEPT.
 */
#define AGENT_ONCE      0x8000u
#define AGENT_ONCE_KEPT 256u
#define AGENT_TAG_TREE  0x80000000u

#define AGENT_CHANGED_NAMES 1u /* a name of something is no longer its */
#define AGENT_CHANGED_ALL   2u /* too much to be told: anything may have changed */
#define AGENT_CHANGED_NEW   4u /* there is a name that was not */
#define AGENT_CHANGED_NAMED 8u /* each of these names is told */
#define AGENT_CHANGED_NAMED_SHIFT                                                                            \
	16 /* how many are. Who does not know of them takes each for two files that he has never heard of. */

#define AGENT_PORTS_FULL                                                                                     \
	1u /* with processes, and what they speak: each that is new is connected to once; else neither, and TCP alone */
#define AGENT_PORTS_MAX 1024u

#define AGENT_SPEAKS_UNKNOWN 0u /* not yet */
#define AGENT_SPEAKS_OTHER   1u /* or nothing */
#define AGENT_SPEAKS_HTTP    2u
#define AGENT_SPEAKS_HTTPS   3u /* TLS */

#define AGENT_SET_MODE  1u
#define AGENT_SET_UID   2u
#define AGENT_SET_GID   4u
#define AGENT_SET_SIZE  8u
#define AGENT_SET_ATIME 16u
#define AGENT_SET_MTIME 32u

struct agent_header {
	uint32_t length;
	uint16_t type;
	uint16_t code;
	uint32_t id;
};

/* Little-endian on the wire; x86-64 and arm64 lay it out so. */
struct agent_changed_name {
	uint32_t ino, tag; /* the folder; it is among the files as well */
	uint64_t hash;     /* agent_name_hash() */
};

/* FNV-1a (RFC 9923), never 0. */
static inline uint64_t agent_name_hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3;
	return h ? h : 1;
}

struct agent_attr {
	uint32_t ino;
	uint32_t generation; /* with SPACE AGENT_SPACE_TREE: the high 8 bits of the key */
	uint32_t mode;       /* with type */
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint32_t rdev;
	uint32_t flags; /* AGENT_ATTR_* */
	uint64_t size;
	uint64_t blocks;             /* of 512 bytes */
	int64_t atime, mtime, ctime; /* seconds */
	uint32_t atime_nsec, mtime_nsec, ctime_nsec;
	uint32_t space; /* AGENT_SPACE_* */
};

struct agent_port {
	uint64_t socket; /* its inode: one listener's while that lives */
	uint32_t pid;    /* 0: not known */
	uint16_t port;
	uint8_t protocol;    /* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t family;      /* 4, 6 */
	uint8_t address[16]; /* as on the wire; of family 4 the first 4 bytes, the others 0 */
	uint8_t speaks;      /* AGENT_SPEAKS_* */
	uint8_t comm_length;
	uint16_t command_length;
	uint32_t zero;
};

#define AGENT_ATTR_PLAIN  1u /* it has no extended attributes */
#define AGENT_ATTR_FOLDER 2u /* the folder's follow, in an answer to what makes a name */

#define AGENT_SPACE_WORK 0u
#define AGENT_SPACE_TREE 1u

_Static_assert(sizeof(struct agent_header) == AGENT_HEADER, "no padding");
_Static_assert(sizeof(struct agent_attr) == 88, "no padding");
_Static_assert(sizeof(struct agent_port) == 40, "no padding");

#endif
