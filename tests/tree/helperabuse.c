/*
 * helperabuse SOCKET VM: says to a helper, as its own owner, what no daemon of ours says. VM runs. Each attempt must end as its row has it; the last
 * one is a HELLO, answered as ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/helper_proto.h"
#include "banger/io.h"
#include "banger/parse.h"

#define ANSWER_MSEC 30000
#define CLOSED      1 /* no answer but the end of the connection */
#define SOME_ERROR  2 /* any errno */
#define FDS_MAX     IO_FDS_MAX

static const char *socket_path;
static unsigned failures;

static int dial(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	return close_fd(fd);
}

/* What came of a message: CLOSED, or the reply's code. */
static int say(const void *data, size_t size, const int *fds, size_t nfds)
{
	_cleanup_close_ int fd = dial();
	struct helper_reply reply;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int got[4];
	size_t n_got = 0;
	ssize_t n;

	if (fd < 0)
		return -ENOTCONN;
	if (io_send_fds(fd, data, size, fds, nfds) < 0)
		return CLOSED;
	if (poll(&p, 1, ANSWER_MSEC) <= 0)
		return -ETIMEDOUT;
	n = io_recv_fds(fd, &reply, sizeof(reply), got, ELEMENTSOF(got), &n_got, 0);
	while (n_got > 0)
		close_fd(got[--n_got]);
	return n == sizeof(reply) ? reply.code : CLOSED;
}

static void expect(const char *what, int got, int wanted)
{
	if (got == wanted || (wanted == SOME_ERROR && got < 0 && got != -ETIMEDOUT && got != -ENOTCONN))
		return;
	printf("%s: got %d, wanted %d\n", what, got, wanted);
	failures++;
}

static struct helper_request request(unsigned call, unsigned vm)
{
	return (struct helper_request){
		.magic = HELPER_MAGIC, .version = HELPER_VERSION, .call = (uint16_t)call, .vm = vm};
}

static void lengths(void)
{
	struct helper_request q = request(HELPER_HELLO, 0);
	uint8_t long_one[65536] = {0};

	memcpy(long_one, &q, sizeof(q));
	expect("one byte", say(&q, 1, NULL, 0), CLOSED);
	expect("a byte short", say(&q, sizeof(q) - 1, NULL, 0), CLOSED);
	expect("a byte long", say(long_one, sizeof(q) + 1, NULL, 0), CLOSED);
	expect("64 KiB", say(long_one, sizeof(long_one), NULL, 0), CLOSED);
	memset(long_one, 0xff, sizeof(long_one));
	expect("all ones", say(long_one, sizeof(q), NULL, 0), CLOSED);
}

static void heads(void)
{
	struct helper_request q = request(HELPER_HELLO, 0);

	q.magic++;
	expect("another magic", say(&q, sizeof(q), NULL, 0), CLOSED);
	q = request(HELPER_HELLO, 0);
	q.version++;
	expect("another version", say(&q, sizeof(q), NULL, 0), CLOSED);
	q = request(HELPER_HELLO, 0);
	q.reserved = 1;
	expect("reserved", say(&q, sizeof(q), NULL, 0), CLOSED);
	q = request(HELPER_HELLO, 7);
	expect("a VM where none is meant", say(&q, sizeof(q), NULL, 0), CLOSED);
	for (unsigned i = 0; i < sizeof(q.u); i++) {
		q = request(HELPER_UNMOUNT, 0);
		q.u.bytes[i] = 1;
		expect("an argument where none is taken", say(&q, sizeof(q), NULL, 0), CLOSED);
	}
	for (unsigned call = 0; call <= 65535; call += call < 300 ? 1 : 997) {
		q = request(call, 0);
		if (call == 0 || call > HELPER_CALL_MAX)
			expect("no such call", say(&q, sizeof(q), NULL, 0), CLOSED);
	}
	q = request(HELPER_TAP, 0);
	expect("no VM", say(&q, sizeof(q), NULL, 0), CLOSED);
	q = request(HELPER_TAP, HELPER_VM_MAX + 1);
	expect("a VM's number too high", say(&q, sizeof(q), NULL, 0), CLOSED);
}

static void rates(unsigned vm)
{
	static const uint64_t bad[] = {1, HELPER_RATE_MIN - 1, HELPER_RATE_MAX + 1, UINT64_MAX};
	struct helper_request q = request(HELPER_RATE, vm + 1000);

	q.u.rate.bytes = HELPER_RATE_MIN;
	expect("a rate for no VM", say(&q, sizeof(q), NULL, 0), -ESRCH);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		q = request(HELPER_RATE, vm);
		q.u.rate.bytes = bad[i];
		expect("a rate out of its limits", say(&q, sizeof(q), NULL, 0), -ERANGE);
	}
	q = request(HELPER_RATE, vm);
	expect("no rate, where there was none", say(&q, sizeof(q), NULL, 0), 0);
}

/* Calls that are well formed, and not for this VM. */
static void meanings(unsigned vm)
{
	struct helper_request q = request(HELPER_SIGNAL, vm + 1000);

	q.u.signal.signal = HELPER_SIGKILL;
	expect("a signal to a VM that isn't there", say(&q, sizeof(q), NULL, 0), -ESRCH);
	q = request(HELPER_SIGNAL, vm);
	q.u.signal.signal = 77;
	expect("another signal", say(&q, sizeof(q), NULL, 0), -EINVAL);
	q = request(HELPER_PIDFD, vm + 1000);
	expect("a pidfd of no VM", say(&q, sizeof(q), NULL, 0), -ESRCH);
	q = request(HELPER_RELEASE, vm);
	expect("release of one that runs", say(&q, sizeof(q), NULL, 0), -EBUSY);
	q = request(HELPER_NET_DOWN, 0);
	expect("no network below one that runs", say(&q, sizeof(q), NULL, 0), -EBUSY);
	for (unsigned call = HELPER_TAP; call <= HELPER_NAT; call++) {
		static const uint32_t addresses[] = {
			0, 0x7f000001, 0x08080808, 0x0a420000, 0x0a420001, 0xffffffff};

		for (size_t i = 0; i < ELEMENTSOF(addresses); i++) {
			q = request(call, vm + 1000);
			q.u.nat.address = addresses[i];
			expect("an address that is no guest's", say(&q, sizeof(q), NULL, 0), -EINVAL);
		}
	}
	q = request(HELPER_TAP, vm);
	q.u.tap.address = 0x0a420005;
	expect("a tap for one that runs", say(&q, sizeof(q), NULL, 0), -EBUSY);
}

static struct helper_request launch(unsigned vm)
{
	struct helper_request q = request(HELPER_LAUNCH, vm);

	q.u.launch.memory = 256ull << 20;
	q.u.launch.console_max = 1 << 20;
	q.u.launch.vcpus = 1;
	q.u.launch.accel = HELPER_ACCEL_TCG;
	q.u.launch.no_network = 1;
	q.u.launch.storage = HELPER_STORAGE_OVERLAY;
	q.u.launch.engine = HELPER_ENGINE_QEMU;
	return q;
}

static int scratch(size_t size)
{
	int fd = memfd_create("abuse", MFD_CLOEXEC);

	return fd >= 0 && ftruncate(fd, (off_t)size) < 0 ? close_fd(fd) : fd;
}

static int listener(int type, int listening)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	/* Autobind: unix(7). */
	if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
		(listening && listen(fd, 1) < 0))
		return close_fd(fd);
	return fd;
}

static void good_fds(int fds[LAUNCH_FD_COUNT])
{
	for (int i = 0; i < LAUNCH_FD_COUNT; i++) {
		_cleanup_close_ int whole = scratch(1 << 20);
		_cleanup_free_ char *path = NULL;

		if (i >= LAUNCH_FD_TTY)
			fds[i] = listener(SOCK_STREAM, 1);
		else if (i > LAUNCH_FD_IMAGE)
			fds[i] = TAKE_FD(whole);
		else
			fds[i] = asprintf(&path, "/proc/self/fd/%d", whole) > 0
					 ? open(path, O_RDONLY | O_CLOEXEC)
					 : -1;
	}
}

static void descriptors(unsigned vm, const char *in_tree)
{
	struct helper_request q = launch(vm + 1000);
	int fds[FDS_MAX], good[LAUNCH_FD_COUNT], p[2];
	struct {
		const char *what;
		int fd;
	} bad[] = {
		{"a pipe", pipe2(p, O_CLOEXEC) == 0 ? p[0] : -1},
		{"a folder", open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)},
		{"/dev/null", open("/dev/null", O_RDWR | O_CLOEXEC)},
		{"an O_PATH", open("/etc/passwd", O_PATH | O_CLOEXEC)},
		{"a file of root's", open("/etc/passwd", O_RDONLY | O_CLOEXEC)},
		{"a file in the tree", open(in_tree, O_RDONLY | O_CLOEXEC)},
		{"a datagram socket", listener(SOCK_DGRAM, 0)},
		{"a socket that doesn't listen", listener(SOCK_STREAM, 0)},
	};

	for (int i = 0; i < FDS_MAX; i++)
		fds[i] = p[0];
	q = request(HELPER_HELLO, 0);
	expect("a descriptor where none is taken", say(&q, sizeof(q), fds, 1), CLOSED);
	expect("as many as a message takes", say(&q, sizeof(q), fds, FDS_MAX), CLOSED);
	q = request(HELPER_MOUNT, 0);
	expect("a mount that is a pipe", say(&q, sizeof(q), fds, 1), SOME_ERROR);
	q = launch(vm + 1000);
	good_fds(good);
	for (size_t n = 0; n < LAUNCH_FD_COUNT; n++)
		expect("too few descriptors", say(&q, sizeof(q), good, n), CLOSED);
	for (size_t b = 0; b < ELEMENTSOF(bad); b++)
		for (int i = 0; i < LAUNCH_FD_COUNT; i++) {
			memcpy(fds, good, sizeof(good));
			if (bad[b].fd < 0)
				expect(bad[b].what, -ENOTCONN, 0);
			fds[i] = bad[b].fd;
			expect(bad[b].what, say(&q, sizeof(q), fds, LAUNCH_FD_COUNT), SOME_ERROR);
		}
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		fds[i] = good[LAUNCH_FD_COUNT - 1 - i];
	expect("in another order", say(&q, sizeof(q), fds, LAUNCH_FD_COUNT), SOME_ERROR);
	q.u.launch.memory = 1;
	expect("a byte of memory", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ERANGE);
	q = launch(vm + 1000);
	q.u.launch.vcpus = 100000;
	expect("100000 vcpus", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ERANGE);
	q = launch(vm + 1000);
	q.u.launch.disk_ops = HELPER_RATE_MAX + 1;
	expect("operations without end", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ERANGE);
	q = launch(vm + 1000);
	q.u.launch.engine = HELPER_ENGINE_FIRECRACKER;
	expect("a jailed one with QEMU's sockets", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), CLOSED);
	expect("one that emulates", say(&q, sizeof(q), good, LAUNCH_FD_COUNT_JAILED), -EINVAL);
	q.u.launch.accel = HELPER_ACCEL_KVM;
	expect("one without its jail", say(&q, sizeof(q), good, LAUNCH_FD_COUNT_JAILED), -ENODEV);
	q = request(HELPER_JAIL, vm + 1000);
	for (size_t b = 0; b < ELEMENTSOF(bad); b++)
		expect("a jail with what is no mount namespace", say(&q, sizeof(q), &bad[b].fd, 1),
			SOME_ERROR);
	/* Were a number with nothing behind it kept, there would be no room for a VM after these. */
	for (unsigned i = 0; i < 1100; i++) {
		q = launch(vm + 1 + i);
		q.u.launch.no_network = 0;
		expect("a launch without its tap", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ENODEV);
	}
	q = request(HELPER_LIST, 0);
	q.u.list.after = vm;
	expect("nothing came of it", say(&q, sizeof(q), NULL, 0), -ENOENT);
	q = launch(vm);
	expect("a second launch of one that runs", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -EBUSY);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(good[i]);
	for (size_t b = 0; b < ELEMENTSOF(bad); b++)
		close_fd(bad[b].fd);
	close_fd(p[1]);
}

/* A root disk of what is none, in sizes that none has, and of a VM that runs. */
static void disks(unsigned vm, const char *in_tree)
{
	static const uint64_t sizes[] = {
		0, 1, 4096, (1 << 20) + 1, (1 << 20) - 4096, (16ull << 40) + 4096, UINT64_MAX};
	struct helper_request q = request(HELPER_DISK, vm + 1000);
	int good[LAUNCH_FD_COUNT], fds[DISK_FD_COUNT];
	_cleanup_close_ int tree = open(in_tree, O_RDONLY | O_CLOEXEC),
			    null = open("/dev/null", O_RDWR | O_CLOEXEC);

	good_fds(good);
	fds[DISK_FD_IMAGE] = good[LAUNCH_FD_IMAGE];
	fds[DISK_FD_COW] = good[LAUNCH_FD_OVERLAY];
	expect("off, with descriptors", say(&q, sizeof(q), fds, DISK_FD_COUNT), -EINVAL);
	expect("off, of none", say(&q, sizeof(q), NULL, 0), 0);
	q.u.disk.size = 1 << 20;
	q.u.disk.what = HELPER_DISK_WRITE;
	expect("on, without descriptors", say(&q, sizeof(q), NULL, 0), -EINVAL);
	expect("with one", say(&q, sizeof(q), fds, 1), -EINVAL);
	expect("with three", say(&q, sizeof(q), good, 3), CLOSED);
	q.u.disk.what = HELPER_DISK_WRITE + 1;
	expect("something else", say(&q, sizeof(q), fds, DISK_FD_COUNT), -EINVAL);
	for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
		q.u.disk.what = HELPER_DISK_READ;
		q.u.disk.size = sizes[i];
		expect("a size that it can't have", say(&q, sizeof(q), fds, DISK_FD_COUNT), -ERANGE);
	}
	q.u.disk.size = 1 << 20;
	fds[DISK_FD_IMAGE] = tree;
	expect("an image in the tree", say(&q, sizeof(q), fds, DISK_FD_COUNT), SOME_ERROR);
	fds[DISK_FD_IMAGE] = good[LAUNCH_FD_IMAGE];
	fds[DISK_FD_COW] = null;
	expect("a device for a cow", say(&q, sizeof(q), fds, DISK_FD_COUNT), -EINVAL);
	fds[DISK_FD_COW] = good[LAUNCH_FD_OVERLAY];
	q.vm = vm;
	expect("of one that runs", say(&q, sizeof(q), fds, DISK_FD_COUNT), -EBUSY);
	q = request(HELPER_DISK_STATUS, vm + 1000);
	expect("how full none is", say(&q, sizeof(q), NULL, 0), -ENODEV);
	q = launch(vm + 1000);
	q.u.launch.storage = HELPER_STORAGE_DM;
	expect("a launch without its disk", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ENODEV);
	q.u.launch.storage = 77;
	expect("of another storage", say(&q, sizeof(q), good, LAUNCH_FD_COUNT), -ERANGE);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(good[i]);
}

/* Made, and then nothing: what becomes of it is seen by who runs this. */
static void jail(unsigned vm)
{
	_cleanup_close_ int mounts = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	struct helper_request q = request(HELPER_JAIL, vm);

	expect("a jail for one that runs", say(&q, sizeof(q), &mounts, 1), -EBUSY);
	q.vm = vm + 1000;
	expect("a jail", say(&q, sizeof(q), &mounts, 1), 0);
	expect("once more", say(&q, sizeof(q), &mounts, 1), 0);
}

/* Many that connect and say nothing, and one that asks without ever listening. */
static void floods(void)
{
	struct helper_request q = request(HELPER_HELLO, 0);
	int fds[200];

	for (size_t i = 0; i < ELEMENTSOF(fds); i++)
		fds[i] = dial();
	for (size_t i = 0; i < ELEMENTSOF(fds); i++)
		close_fd(fds[i]);
	fds[0] = dial();
	for (int i = 0; i < 100000; i++)
		if (send(fds[0], &q, sizeof(q), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
	expect("while one doesn't listen", say(&q, sizeof(q), NULL, 0), 0);
	close_fd(fds[0]);
}

int main(int argc, char **argv)
{
	struct helper_request q = request(HELPER_HELLO, 0);
	uint64_t vm;

	if (argc != 4 || parse_u64(argv[2], 1, HELPER_VM_MAX - 1101, &vm) < 0)
		return 2;
	socket_path = argv[1];
	lengths();
	heads();
	meanings((unsigned)vm);
	rates((unsigned)vm);
	descriptors((unsigned)vm, argv[3]);
	disks((unsigned)vm, argv[3]);
	jail((unsigned)vm);
	floods();
	expect("a HELLO after all that", say(&q, sizeof(q), NULL, 0), 0);
	return failures > 0;
}
