/* What the host knows of a VM: of its VMM's process, and what that counts, asked by a worker. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "banger/io.h"
#include "vm/model.h"

struct asked {
	struct vms *vms;
	uint32_t id;
	const struct engine *engine;
	int run_fd;
	char *said;
	vm_stats_fn done;
	void *user;
};

static void print_own(uint64_t cpu_usec, uint64_t memory, FILE *out)
{
	fprintf(out, "vmm_cpu_usec %" PRIu64 "\nvmm_memory %" PRIu64 "\n", cpu_usec, memory);
}

/* FILE of a scope's cgroup (Documentation/admin-guide/cgroup-v2.rst); the caller's. NULL: there is none. */
static char *read_cgroup(const char *scope, const char *file)
{
	_cleanup_free_ char *path = NULL;
	char *text = NULL;

	if (asprintf(&path, "/sys/fs/cgroup/" HELPER_SLICE "/%s/%s", scope, file) < 0) {
		path = NULL;
		return NULL;
	}
	return io_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0 ? NULL : text;
}

/* A unit with ProtectProc= doesn't see processes of others: then by its scope, in which only a reaper is besides. */
static void print_scope(const struct vm *vm, FILE *out)
{
	_cleanup_free_ char *cpu = NULL, *memory = NULL;
	uint64_t usec, anonymous, shared = 0;
	char scope[48];
	const char *at;

	helper_vm_scope(vm->vms->config.instance, vm->row.id, scope);
	cpu = read_cgroup(scope, "cpu.stat");
	memory = read_cgroup(scope, "memory.stat");
	if (!cpu || !memory || sscanf(cpu, "usage_usec %" SCNu64, &usec) != 1 ||
		sscanf(memory, "anon %" SCNu64, &anonymous) != 1)
		return;
	at = strstr(memory, "\nshmem ");
	if (at)
		sscanf(at, "\nshmem %" SCNu64, &shared);
	print_own(usec, anonymous + shared, out);
}

static void print_process(const struct vm *vm, FILE *out)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	unsigned long user = 0, system = 0;
	long pages = 0;
	char *at;

	if (vm->pid <= 0 || asprintf(&path, "/proc/%d/stat", vm->pid) < 0) {
		path = NULL;
		return;
	}
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0) {
		print_scope(vm, out);
		return;
	}
	/* proc(5): behind the name in brackets come fields 3 on; 14 and 15 are ticks of 1/100 s, 24 is pages. */
	at = strrchr(text, ')');
	if (at && sscanf(at + 2,
			  "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u "
			  "%*u %ld",
			  &user, &system, &pages) == 3)
		print_own((user + system) * 10000, (uint64_t)pages * 4096, out);
}

static int work_ask(void *data, struct err *e)
{
	struct asked *a = data;
	size_t size = 0;
	FILE *out = open_memstream(&a->said, &size);
	int r;

	if (!out)
		return err_sys(e, -ENOMEM, "stats");
	r = a->engine->stats(a->run_fd, out, e);
	if (fclose(out) != 0 && r == 0)
		r = err_sys(e, -ENOMEM, "stats");
	return r;
}

/* A VMM that doesn't answer, or has just ended, leaves its part out. */
static void tell(struct vm *vm, const char *said, vm_stats_fn done, void *user)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out && vm) {
		print_process(vm, out);
		fill_print(vm, out);
		words_print(vm, out);
		fputs(said ? said : "", out);
	}
	if (out && fclose(out) != 0)
		text[0] = '\0';
	done(user, text ? text : "");
}

static void done_ask(void *data, int code, struct err *e)
{
	struct asked *a = data;

	(void)code;
	(void)e;
	tell(vms_get(a->vms, a->id), a->said, a->done, a->user);
	close_fd(a->run_fd);
	free(a->said);
	free(a);
}

void vm_host_stats(struct vm *vm, vm_stats_fn done, void *user)
{
	struct asked *a = vm->engine && vm->pidfd >= 0 ? calloc(1, sizeof(*a)) : NULL;

	if (a) {
		*a = (struct asked){.vms = vm->vms,
			.id = vm->row.id,
			.engine = vm->engine,
			.run_fd = fcntl(vm->run_fd, F_DUPFD_CLOEXEC, 3),
			.done = done,
			.user = user};
		if (a->run_fd >= 0 && job_submit(vm->vms->jobs, work_ask, done_ask, a, NULL) == 0)
			return;
		close_fd(a->run_fd);
		free(a);
	}
	tell(vm, NULL, done, user);
}
