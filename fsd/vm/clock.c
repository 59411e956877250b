/*
 * The guests' clocks are told the host's time: as the first thing a new agent hears, when a paused VM goes on, when the host's own clock was set or the
 * host has slept, and from time to time, for clocks drift apart. What is done with it is the agent's (AGENT_CLOCK).
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "banger/io.h"
#include "vm/model.h"

#define PERIOD_SEC   600 /* 12 ms between clocks that are 20 ppm apart */
#define TIMEOUT_MSEC 10000

static int arm(int fd)
{
	/* Cancelled when the clock is set, and when it jumps over a sleep (timerfd_create(2), Linux 3.0). */
	struct itimerspec at = {.it_value.tv_sec = time(NULL) + PERIOD_SEC};

	return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, NULL) < 0 ? -errno : 0;
}

/* A guest that refuses has its reasons. */
static void on_told(void *user, int code, const void *data, size_t n)
{
	(void)user;
	(void)code;
	(void)data;
	(void)n;
}

static bool tell(struct vm *vm)
{
	uint64_t now = io_wall_usec();
	struct agent_part part = {&now, sizeof(now)};

	return vm->agent && vm->state != VM_PAUSED &&
	       agent_request(vm->agent, AGENT_CLOCK, 0, &part, 1, TIMEOUT_MSEC, on_told, NULL, NULL, NULL) ==
		       0;
}

static int on_time(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct vms *vms = user;
	bool told = false;
	uint64_t count;
	struct vm *vm;
	int r;

	(void)s;
	(void)revents;
	if (read(fd, &count, sizeof(count)) < 0 && errno != ECANCELED)
		return 0;
	do {
		TAILQ_FOREACH (vm, &vms->list, link)
			told |= tell(vm);
		r = told ? arm(fd) : 0;
		/* Set once more, meanwhile. */
	} while (r == -ECANCELED);
	/* The next agent begins it again. */
	if (!told || r < 0)
		vms->clock = sd_event_source_disable_unref(vms->clock);
	return 0;
}

static void watch(struct vms *vms)
{
	_cleanup_close_ int fd = -EBADF;

	if (vms->clock)
		return;
	fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0 || arm(fd) < 0 || sd_event_add_io(vms->event, &vms->clock, fd, EPOLLIN, on_time, vms) < 0)
		return;
	sd_event_source_set_io_fd_own(vms->clock, 1);
	fd = -EBADF;
}

void clock_tell(struct vm *vm)
{
	if (tell(vm))
		watch(vm->vms);
}
