#include <errno.h>
#include <stdbool.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "banger/io.h"
#include "clock.h"

#define BEHIND_USEC 100000u  /* who waits for the clock to be set is woken each time */
#define AHEAD_USEC  1000000u /* how long the word was under way nobody knows */

/* Never comes to its end, but is cancelled whenever the clock is set (timerfd_create(2), Linux 3.0). */
static int timer = -EBADF;

/* From now on. */
static int watch(void)
{
	const struct itimerspec never = {.it_value.tv_sec = UINT32_MAX};

	if (timer < 0)
		timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	/* ECANCELED: it has just been set, by ourselves; the timer runs again. */
	return timer >= 0 && (timerfd_settime(timer, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never,
				      NULL) == 0 ||
				     errno == ECANCELED)
		       ? 0
		       : -errno;
}

static bool was_set(void)
{
	uint64_t count;

	return timer >= 0 && read(timer, &count, sizeof(count)) < 0 && errno == ECANCELED;
}

int clock_follow(uint64_t host_usec)
{
	const struct timespec t = {
		.tv_sec = (time_t)(host_usec / 1000000), .tv_nsec = (long)(host_usec % 1000000) * 1000};
	static bool others;
	uint64_t now = io_wall_usec();

	others = others || was_set();
	if (others)
		return 0;
	if ((now + BEHIND_USEC < host_usec || now > host_usec + AHEAD_USEC) &&
		clock_settime(CLOCK_REALTIME, &t) < 0)
		return -errno;
	return watch();
}
