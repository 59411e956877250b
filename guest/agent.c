#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <linux/vm_sockets.h>

#include "agent.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "channel.h"
#include "clock.h"
#include "door.h"
#include "files.h"
#include "forward.h"
#include "guest.h"
#include "job.h"
#include "ports.h"
#include "power.h"
#include "processes.h"
#include "stats.h"
#include "watch.h"

#define TURN_FRAMES    256 /* requests done before jobs have their turn */
#define BACK_OFF_MSEC  50  /* between looks whether a host is there */
#define PROBE_USEC     30000000
#define ALONE_USEC     2000000 /* for processes to end by SIGTERM, where there is no init */
#define ASK_AGAIN_USEC 1000000 /* an init that was only beginning has not heard the first time */
#define AFTER_TERM_USEC                                                                                      \
	500000 /* for others to end when init has sent SIGTERM to all (busybox: 1 s later comes SIGKILL) */

struct agent {
	struct channel channel;
	enum agent_mode mode;
	const uint8_t *token; /* what its host says; NULL: whatever it says */
	uint8_t cookie[AGENT_COOKIE];
	bool greeted;
	uint64_t power_off_at; /* CLOCK_MONOTONIC usec, 0: not asked to */
	uint64_t first_until;  /* those that are told first have so long to end; 0: nobody is waited for */
	uint64_t ask_again_at; /* 0: init has heard */
	enum power_plan plan;
	bool end;
};

static int open_port(int *ret_fd)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL, *name = NULL, *device = NULL;
		int fd;

		if (entry->d_name[0] == '.' ||
			asprintf(&path, "/sys/class/virtio-ports/%s/name", entry->d_name) < 0 ||
			io_read_file(AT_FDCWD, path, 4096, &name, NULL, NULL) < 0 ||
			strcmp(name, GUEST_AGENT_PORT "\n") != 0 ||
			asprintf(&device, "/dev/%s", entry->d_name) < 0)
			continue;
		fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0) {
			*ret_fd = fd;
			return 0;
		}
	}
	return -ENODEV;
}

static int open_vsock(int *ret_fd)
{
	struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = GUEST_AGENT_VSOCK};
	_cleanup_close_ int device = open("/dev/vsock", O_RDONLY | O_CLOEXEC), fd = -EBADF;
	unsigned cid = VMADDR_CID_ANY;

	/* The driver alone is no device: then there is no number of ours. */
	if (device < 0 || ioctl(device, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid) < 0 || cid == VMADDR_CID_ANY)
		return -ENODEV;
	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int agent_open(int *ret_fd, enum channel_kind *ret_kind, struct err *e)
{
	/* The driver's probe makes port or device a moment after the module is loaded. */
	for (uint64_t end = io_now_usec() + 10000000; io_now_usec() < end;) {
		if (open_port(ret_fd) == 0) {
			*ret_kind = CHANNEL_PORT;
			return 0;
		}
		if (open_vsock(ret_fd) == 0) {
			*ret_kind = CHANNEL_VSOCK;
			return 0;
		}
		nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	}
	return err_set(e, -ENODEV, "no virtio port " GUEST_AGENT_PORT " and no vsock");
}

static void reply(struct agent *a, const struct agent_header *h, int code, const void *data, size_t n)
{
	channel_send(&a->channel, AGENT_REPLY, (uint16_t)-code, h->id, data, n, NULL, 0);
}

static void on_hello(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	struct {
		uint32_t version;
		uint8_t cookie[AGENT_COOKIE];
		uint64_t boot_usec;
		char boot_id[36];
	} __attribute__((packed)) hello = {.version = AGENT_VERSION};
	_cleanup_free_ char *boot_id = NULL;

	if (h->length != a->channel.hello || (a->token && !door_knows(payload, a->token)))
		return;
	memcpy(hello.cookie, payload + 4, AGENT_COOKIE);
	if (!a->greeted || memcmp(hello.cookie, a->cookie, AGENT_COOKIE) != 0) {
		/* Another host: what was for the one before is dropped, before the answer. */
		channel_reset(&a->channel);
		files_new_host();
		job_new_host();
		forward_new_host();
		ports_new_host();
		memcpy(a->cookie, hello.cookie, AGENT_COOKIE);
		a->greeted = true;
	}
	hello.boot_usec = io_wall_usec() - io_now_usec();
	if (io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 4096, &boot_id, NULL, NULL) == 0 &&
		strlen(boot_id) >= sizeof(hello.boot_id))
		memcpy(hello.boot_id, boot_id, sizeof(hello.boot_id));
	else
		memset(hello.boot_id, '0', sizeof(hello.boot_id));
	channel_send(&a->channel, AGENT_HELLO, 0, 0, &hello, sizeof(hello), NULL, 0);
}

/* What the host has asked the one before is answered by nobody. */
static void say_begun_again(struct agent *a)
{
	struct {
		uint32_t version;
		uint8_t cookie[AGENT_COOKIE];
	} hello = {.version = AGENT_VERSION};

	channel_send(&a->channel, AGENT_HELLO, 0, 0, &hello, sizeof(hello), NULL, 0);
}

static void on_text(struct agent *a, const struct agent_header *h)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (!out) {
		reply(a, h, -ENOMEM, NULL, 0);
		return;
	}
	if (h->type == AGENT_STATS)
		stats_write(out, files_root_fd());
	else
		stats_health(out, a->mode == AGENT_BESIDE_INIT, job_running());
	fclose(out);
	reply(a, h, text ? 0 : -ENOMEM, text, text ? n : 0);
}

static void go_down(struct agent *a)
{
	a->first_until = 0;
	a->plan = power_ask_init(a->mode == AGENT_BESIDE_INIT);
	if (a->plan == POWER_WHEN_TOLD)
		a->ask_again_at = io_now_usec() + ASK_AGAIN_USEC;
	if (a->plan == POWER_ALONE) {
		kill(-1, SIGTERM);
		job_kill_all(SIGTERM);
		if (io_now_usec() + ALONE_USEC < a->power_off_at)
			a->power_off_at = io_now_usec() + ALONE_USEC;
	}
}

static void on_poweroff(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	uint32_t v[2];

	if (h->length != sizeof(v)) {
		reply(a, h, -EINVAL, NULL, 0);
		return;
	}
	memcpy(v, payload, sizeof(v));
	reply(a, h, 0, NULL, 0);
	channel_flush(&a->channel);
	if (a->power_off_at)
		return;
	if (a->mode == AGENT_BY_HAND) {
		a->end = true;
		return;
	}
	if (a->mode == AGENT_PROBE)
		power_off_now();
	sync();
	a->power_off_at = io_now_usec() + (uint64_t)v[1] * 1000;
	if (job_stop_first())
		a->first_until = io_now_usec() + (uint64_t)v[1] * 1000 / 2;
	else
		go_down(a);
}

static void on_clock(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	uint64_t usec;
	int r = -EINVAL;

	if (h->length == sizeof(usec)) {
		memcpy(&usec, payload, sizeof(usec));
		r = a->mode == AGENT_BY_HAND ? 0 : clock_follow(usec);
	}
	reply(a, h, r, NULL, 0);
}

static void on_frame(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	if (h->type == AGENT_HELLO)
		on_hello(a, h, payload);
	/* What somebody says who hasn't said who he is, is not heard. */
	if (h->type == AGENT_HELLO || !a->greeted)
		return;
	switch (h->type) {
	case AGENT_STDIN:
	case AGENT_CREDIT:
	case AGENT_SIGNAL:
	case AGENT_WINSIZE:
		if (!forward_frame(&a->channel, h, payload))
			job_frame(&a->channel, h, payload);
		break;
	case AGENT_PING:
		reply(a, h, 0, NULL, 0);
		break;
	case AGENT_STATS:
	case AGENT_HEALTH:
		on_text(a, h);
		break;
	case AGENT_POWEROFF:
		on_poweroff(a, h, payload);
		break;
	case AGENT_SYNC:
		sync();
		reply(a, h, 0, NULL, 0);
		break;
	case AGENT_CLOCK:
		on_clock(a, h, payload);
		break;
	case AGENT_ATTACH:
		job_attach(&a->channel, h->id, payload, h->length);
		break;
	case AGENT_REAP:
		job_reap_told(h->id);
		break;
	case AGENT_EXEC:
		if (a->mode == AGENT_PROBE)
			reply(a, h, -EOPNOTSUPP, NULL, 0);
		else
			job_exec(&a->channel, h->id, payload, h->length);
		break;
	case AGENT_CONNECT:
		if (a->mode == AGENT_PROBE)
			reply(a, h, -EOPNOTSUPP, NULL, 0);
		else
			forward_connect(&a->channel, h->id, payload, h->length);
		break;
	case AGENT_PORTS:
	case AGENT_PORTS_WATCH:
		if (a->mode == AGENT_PROBE)
			reply(a, h, -EOPNOTSUPP, NULL, 0);
		else
			ports_request(&a->channel, h, payload);
		break;
	default:
		files_request(&a->channel, h, payload);
	}
}

static void on_signals(struct agent *a, int fd)
{
	struct signalfd_siginfo si;

	while (read(fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD) {
			job_reap();
		} else if (si.ssi_signo == SIGTERM && a->power_off_at && a->plan == POWER_WHEN_TOLD) {
			a->power_off_at = io_now_usec() + AFTER_TERM_USEC;
			a->ask_again_at = 0;
		}
	}
}

/* The end that was set: whatever init is at, the disks are synced and the machine goes off. */
static void power_off_if_time(struct agent *a)
{
	bool alone;

	if (!a->power_off_at)
		return;
	if (a->first_until) {
		if (job_first_runs() && io_now_usec() < a->first_until)
			return;
		go_down(a);
	}
	alone = a->plan == POWER_ALONE;
	if (a->ask_again_at && io_now_usec() >= a->ask_again_at) {
		power_ask_init(1);
		a->ask_again_at = io_now_usec() + ASK_AGAIN_USEC;
	}
	/* Without an init there is nothing to wait for once all others have ended. */
	if (io_now_usec() < a->power_off_at && !(alone && !processes_others_run()))
		return;
	kill(-1, SIGKILL);
	job_kill_all(SIGKILL);
	power_off_now();
}

static int next_timeout(struct agent *a)
{
	uint64_t now = io_now_usec(), at = job_deadline(), ports = ports_deadline(), watch = watch_deadline();
	int msec = -1;

	if (ports && (!at || ports < at))
		at = ports;
	if (watch && (!at || watch < at))
		at = watch;
	if (a->power_off_at && (!at || a->power_off_at < at))
		at = a->power_off_at;
	if (a->first_until && a->first_until < at)
		at = a->first_until;
	if (a->ask_again_at && a->ask_again_at < at)
		at = a->ask_again_at;
	if (at)
		msec = at > now ? (int)((at - now) / 1000 + 1) : 0;
	if (channel_poll_fd(&a->channel) < 0 && !a->channel.door && (msec < 0 || msec > BACK_OFF_MSEC))
		msec = BACK_OFF_MSEC;
	if (a->power_off_at && !a->first_until && a->plan == POWER_ALONE && msec > 10)
		msec = 10;
	return msec;
}

static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

void agent_protect(void)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "-1000", 5);
}

int agent_run(int fd, enum channel_kind kind, const uint8_t *token, const char *root, const char *tree,
	enum agent_mode mode, struct agent_life *life)
{
	struct agent a = {.mode = mode, .token = token};
	static struct pollfd polls[JOB_POLL_MAX + FORWARDS_MAX + PORTS_POLL_MAX + 4];
	_cleanup_close_ int signals = watch_signals();
	uint64_t end = mode == AGENT_PROBE ? io_now_usec() + PROBE_USEC : 0;
	int r = channel_init(&a.channel, fd, kind, token, &life->half_said);

	if (r < 0 || signals < 0)
		return r < 0 ? r : -errno;
	if (kind != CHANNEL_VSOCK)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (mode != AGENT_BY_HAND) {
		agent_protect();
		/* Every file open on the host is one here (1024 * 1024: the kernel's own upper limit, fs.nr_open). */
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){1 << 20, 1 << 20});
	}
	if (mode != AGENT_PROBE) {
		r = files_init(root, tree);
		if (r < 0)
			guest_say("work disk: %s", strerror(-r));
	}
	/* A port has no other way to tell. */
	if (life->again && kind == CHANNEL_PORT)
		say_begun_again(&a);
	while (!a.end && !a.channel.broken) {
		struct agent_header h;
		const uint8_t *payload;
		size_t n = 0;
		int timeout;
		bool more;

		for (int i = 0; i < TURN_FRAMES && channel_receive(&a.channel, &h, &payload) > 0; i++)
			on_frame(&a, &h, payload);
		watch_tell(&a.channel);
		job_turn(&a.channel);
		forward_turn(&a.channel);
		ports_turn(&a.channel);
		channel_flush(&a.channel);
		power_off_if_time(&a);
		if (end && io_now_usec() > end)
			return 0;
		timeout = a.end ? 0 : next_timeout(&a);
		polls[n++] = (struct pollfd){.fd = signals, .events = POLLIN};
		polls[n++] = (struct pollfd){.fd = channel_door_fd(&a.channel), .events = POLLIN};
		if (channel_poll_fd(&a.channel) >= 0)
			polls[n++] = (struct pollfd){.fd = channel_poll_fd(&a.channel),
				.events = (short)(POLLIN | (channel_waiting(&a.channel) ? POLLOUT : 0))};
		more = a.channel.connected && channel_waiting(&a.channel) < CHANNEL_OUT_SOFT;
		if (more)
			polls[n++] = (struct pollfd){.fd = watch_fd(), .events = POLLIN};
		n += job_poll(polls + n, more);
		n += forward_poll(polls + n, more);
		n += ports_poll(polls + n);
		if (poll(polls, n, end && timeout < 0 ? 1000 : timeout) <= 0)
			continue;
		if (polls[0].revents)
			on_signals(&a, signals);
		if (polls[1].revents)
			channel_admit(&a.channel);
	}
	return 0;
}
