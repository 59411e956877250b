#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/proc.h"
#include "image/image.h"
#include "banger/cleanup.h"

#define DEBIAN_PACKAGES                                                                                      \
	"systemd,systemd-sysv,dbus,openssh-server,ca-certificates,iproute2,procps,less,nano,git,curl,rsync"

/* mmdebstrap on a thread of its own, its tar down a pipe that image_from_tar() reads. */
struct build {
	const char *suite;
	int out;
	struct op *op;
	struct err err;
	int code;
};

static int suite_valid(const char *s)
{
	return *s >= 'a' && *s <= 'z' && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s) &&
	       strlen(s) < 64;
}

static void *run_mmdebstrap(void *arg)
{
	/* As an ordinary user it needs user namespaces with a range of ids; mmdebstrap(1) chooses the mode that works. */
	const char *argv[] = {"mmdebstrap", "--quiet", "--variant=minbase", "--include=" DEBIAN_PACKAGES,
		"--format=tar", NULL, "-", NULL};
	static const char *const env[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TMPDIR=/var/tmp", NULL};
	struct build *b = arg;
	struct proc_spec spec = PROC_SPEC_INIT;

	argv[5] = b->suite;
	spec.argv = argv;
	spec.env = env;
	spec.stdout_fd = b->out;
	spec.cancel_fd = op_cancel_fd(b->op);
	spec.timeout_msec = 3600000;
	b->code = proc_run(&spec, NULL, NULL, NULL, &b->err);
	b->out = close_fd(b->out);
	return NULL;
}

/* The host's own suite, from /etc/os-release. */
static int host_suite(char ret[64], struct err *e)
{
	_cleanup_fclose_ FILE *f = fopen("/etc/os-release", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "VERSION_CODENAME=", 17) == 0) {
			line[strcspn(line, "\n")] = '\0';
			if (suite_valid(line + 17)) {
				snprintf(ret, 64, "%.63s", line + 17);
				return 0;
			}
		}
	return err_set(e, -ENOENT, "this host's Debian suite is not known: build debian needs a Debian host");
}

int image_build_debian(const char *suite, int out_fd, const char *uuid_seed, struct op *op,
	struct image_result *ret, struct err *e)
{
	struct build b = {.op = op, .suite = suite};
	_cleanup_err_ struct err mine = {0};
	pthread_t thread;
	char own[64];
	int p[2], r;

	if (suite && !suite_valid(suite))
		return err_set(e, -EINVAL, "'%s' is no suite", suite);
	if (!suite) {
		r = host_suite(own, e);
		if (r < 0)
			return r;
		b.suite = own;
	}
	if (access("/usr/bin/mmdebstrap", X_OK) < 0)
		return err_set(e, -ENOENT, "mmdebstrap is not installed: apt install mmdebstrap uidmap");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "mmdebstrap");
	b.out = p[1];
	r = -pthread_create(&thread, NULL, run_mmdebstrap, &b);
	if (r < 0) {
		close_fd(p[0]);
		close_fd(p[1]);
		return err_sys(e, r, "mmdebstrap");
	}
	r = image_from_tar(p[0], out_fd, uuid_seed, op, ret, &mine);
	close_fd(p[0]);
	pthread_join(thread, NULL);
	/* What mmdebstrap said is the reason; that its tar was short only follows from it. */
	if (b.code < 0 && b.code != -EINTR) {
		err_move(e, &b.err);
		return err_wrap(e, "building a Debian");
	}
	err_clear(&b.err);
	return r < 0 ? err_move(e, &mine) : 0;
}
