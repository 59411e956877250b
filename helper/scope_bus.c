#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "caps.h"
#include "scope_bus.h"

#define SYSTEMD      "org.freedesktop.systemd1"
#define MANAGER      "org.freedesktop.systemd1.Manager"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define UNIT_EXISTS  "org.freedesktop.systemd1.UnitExists"
/* systemd's own door, by which systemctl goes too: only root gets in, and no bus has to carry each word. */
#define MANAGER_SOCKET "unix:path=/run/systemd/private"
#define LIMIT_USEC     15000000 /* for systemd to do it; loaded machines are slow */

/* What of libsystemd is used. */
#define CALLS(X)                                                                                             \
	X(sd_bus_open_system)                                                                                \
	X(sd_bus_new)                                                                                        \
	X(sd_bus_set_address)                                                                                \
	X(sd_bus_start)                                                                                      \
	X(sd_bus_flush_close_unref)                                                                          \
	X(sd_bus_match_signal_async)                                                                         \
	X(sd_bus_call_method)                                                                                \
	X(sd_bus_call_method_async)                                                                          \
	X(sd_bus_process)                                                                                    \
	X(sd_bus_wait)                                                                                       \
	X(sd_bus_message_read)                                                                               \
	X(sd_bus_message_unref)                                                                              \
	X(sd_bus_error_free)

static struct {
#define POINTER(name) __typeof__(name) *name;
	CALLS(POINTER)
#undef POINTER
} lib;

static bool load(void)
{
	void *so = dlopen("libsystemd.so.0", RTLD_NOW);

	if (!so)
		return false;
#define LOOK_UP(name)                                                                                        \
	lib.name = (__typeof__(name) *)dlsym(so, #name);                                                     \
	if (!lib.name)                                                                                       \
		return false;
	CALLS(LOOK_UP)
#undef LOOK_UP
	return true;
}

/* What is waited for. */
struct waiting {
	const char *unit; /* to be gone */
	char *job;        /* to be done */
	bool gone, ended;
	char result[32]; /* the job's */
};

static int on_job_removed(sd_bus_message *m, void *data, sd_bus_error *error)
{
	struct waiting *w = data;
	const char *job, *unit, *result;
	uint32_t id;

	(void)error;
	if (lib.sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) >= 0 && w->job &&
		strcmp(job, w->job) == 0) {
		w->ended = true;
		snprintf(w->result, sizeof(w->result), "%s", result);
	}
	return 0;
}

static int on_unit_removed(sd_bus_message *m, void *data, sd_bus_error *error)
{
	struct waiting *w = data;
	const char *unit, *path;

	(void)error;
	if (lib.sd_bus_message_read(m, "so", &unit, &path) >= 0 && strcmp(unit, w->unit) == 0)
		w->gone = true;
	return 0;
}

static uint64_t now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int wait_until(sd_bus *bus, const bool *flag, uint64_t end)
{
	while (!*flag) {
		int r = lib.sd_bus_process(bus, NULL);
		uint64_t now = now_usec();

		if (r < 0)
			return r;
		if (r > 0)
			continue;
		if (now >= end)
			return -ETIMEDOUT;
		r = lib.sd_bus_wait(bus, end - now);
		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

static int connect_bus(sd_bus **ret, struct waiting *w)
{
	sd_bus *bus = NULL;
	int r = lib.sd_bus_new(&bus);

	if (r >= 0)
		r = lib.sd_bus_set_address(bus, MANAGER_SOCKET);
	if (r >= 0)
		r = lib.sd_bus_start(bus);
	if (r < 0) {
		lib.sd_bus_flush_close_unref(bus);
		bus = NULL;
		r = lib.sd_bus_open_system(&bus);
		if (r < 0)
			bus = NULL;
	}
	/* Asked for before anything is done, so that nothing is missed; answered meanwhile. A match that is refused ends the connection (sd_bus_add_match(3)). */
	if (r >= 0)
		r = lib.sd_bus_match_signal_async(
			bus, NULL, NULL, MANAGER_PATH, MANAGER, "JobRemoved", on_job_removed, NULL, w);
	if (r >= 0)
		r = lib.sd_bus_match_signal_async(
			bus, NULL, NULL, MANAGER_PATH, MANAGER, "UnitRemoved", on_unit_removed, NULL, w);
	if (r >= 0)
		r = lib.sd_bus_call_method_async(
			bus, NULL, SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe", NULL, NULL, "");
	if (r < 0) {
		lib.sd_bus_flush_close_unref(bus);
		return r;
	}
	*ret = bus;
	return 0;
}

/* 0: *RET_JOB is the caller's; -EEXIST: one of that name is there, still. */
static int ask(sd_bus *bus, const struct scope_order *o, char **ret_job, struct scope_answer *a)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *reply = NULL;
	const char *job;
	int r = lib.sd_bus_call_method(bus, SYSTEMD, MANAGER_PATH, MANAGER, "StartTransientUnit", &error,
		&reply, "ssa(sv)a(sa(sv))", o->name, "fail", 6, "Description", "s", o->title, "Slice", "s",
		"banger.slice", "PIDs", "au", (int)o->n, o->pids[0], o->pids[1], "MemoryMax", "t", o->memory,
		"TasksMax", "t", o->tasks, "CollectMode", "s", "inactive-or-failed", 0);

	if (r < 0 && error.name && strcmp(error.name, UNIT_EXISTS) == 0)
		r = -EEXIST;
	if (r < 0)
		snprintf(a->text, sizeof(a->text), "%s", error.message ? error.message : strerror(-r));
	if (r >= 0)
		r = lib.sd_bus_message_read(reply, "o", &job);
	if (r >= 0) {
		*ret_job = strdup(job);
		r = *ret_job ? 0 : -ENOMEM;
	}
	lib.sd_bus_message_unref(reply);
	lib.sd_bus_error_free(&error);
	return r;
}

static void make_scope(const struct scope_order *o, struct scope_answer *a)
{
	struct waiting w = {.unit = o->name};
	uint64_t end = now_usec() + LIMIT_USEC;
	sd_bus *bus = NULL;
	int r;

	*a = (struct scope_answer){0};
	if (!lib.sd_bus_new && !load()) {
		a->code = -ENOENT;
		snprintf(a->text, sizeof(a->text), "libsystemd.so.0 can't be loaded");
		return;
	}
	r = connect_bus(&bus, &w);
	if (r == 0) {
		/* The one of the VM's last run goes a moment after its last process. */
		while ((r = ask(bus, o, &w.job, a)) == -EEXIST) {
			r = wait_until(bus, &w.gone, end);
			w.gone = false;
			if (r < 0)
				break;
		}
		if (r == 0)
			r = wait_until(bus, &w.ended, end);
		if (r == 0 && strcmp(w.result, "done") != 0) {
			r = -EIO;
			snprintf(a->text, sizeof(a->text), "its job ended as: %s", w.result);
		}
		lib.sd_bus_flush_close_unref(bus);
	}
	free(w.job);
	a->code = r;
	if (r < 0 && !*a->text)
		snprintf(a->text, sizeof(a->text), "%s", strerror(-r));
}

void scope_bus_serve(int sock, int fd, const void *data)
{
	_cleanup_err_ struct err e = {0};

	(void)fd;
	(void)data;
	if (caps_none(&e) < 0) {
		fprintf(stderr, "banger-helper: scopes: %s\n", err_text(&e));
		return;
	}
	for (;;) {
		struct scope_order o;
		struct scope_answer a;
		size_t n = 0;

		if (io_recv_fds(sock, &o, sizeof(o), NULL, 0, &n, 0) != sizeof(o) || o.n != 2)
			return;
		make_scope(&o, &a);
		if (io_send_fds(sock, &a, sizeof(a), NULL, 0) < 0)
			return;
	}
}
