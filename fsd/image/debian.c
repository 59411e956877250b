#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/os_release.h"
#include "banger/proc.h"
#include "banger/subid.h"
#include "image/image.h"
#include "banger/cleanup.h"

#define DEBIAN_PACKAGES                                                                                      \
	"systemd,systemd-sysv,dbus,openssh-server,ca-certificates,iproute2,procps,less,nano,git,curl,rsync"

#define SOURCES_MAX 16
#define LINES_MAX   (1u << 20)

/* Where the host's own apt gets Debian from: lines for a sources.list, and the suite that the host is of. */
struct sources {
	char *lines[SOURCES_MAX + 1];
	size_t n;
	char suite[64];
};

static int suite_valid(const char *s)
{
	return *s >= 'a' && *s <= 'z' && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s) &&
	       strlen(s) < 64;
}

/* The host's own suite, from /etc/os-release. */
static int host_suite(char ret[64], struct err *e)
{
	_cleanup_free_ char *suite = NULL;

	if (os_release_get("VERSION_CODENAME", &suite, NULL) < 0 || !suite_valid(suite))
		return err_set(e, -ENOENT,
			"this host's Debian suite is not known: build debian needs a Debian host");
	snprintf(ret, 64, "%s", suite);
	return 0;
}

static void sources_clear(struct sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->lines[i]);
	s->n = 0;
}

static const char *const env[] = {
	"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TMPDIR=/var/tmp", NULL};

static int sources_find(struct sources *s, struct op *op, struct err *e)
{
	/* apt's own word for what its configuration says; only Debian's own archives, by their signed indexes. */
	const char *const argv[] = {"apt-get", "indextargets", "--format",
		"deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian", NULL};
	_cleanup_free_ char *text = NULL;
	struct proc_spec spec = PROC_SPEC_INIT;
	char *rest, *line;
	int r = host_suite(s->suite, e);

	if (r < 0)
		return r;
	spec.argv = argv;
	spec.env = env;
	spec.cancel_fd = op_cancel_fd(op);
	spec.timeout_msec = 60000;
	spec.max_output = LINES_MAX;
	r = proc_run(&spec, &text, NULL, NULL, e);
	if (r < 0)
		return r;
	rest = text;
	while (s->n < SOURCES_MAX && (line = strsep(&rest, "\n"))) {
		size_t i = 0;

		while (i < s->n && strcmp(s->lines[i], line) != 0)
			i++;
		if (i < s->n || strncmp(line, "deb ", 4) != 0)
			continue;
		if (!(s->lines[s->n] = strdup(line)))
			return err_sys(e, -ENOMEM, "apt's sources");
		s->n++;
	}
	return s->n > 0 ? 0
			: err_set(e, -ENOENT, "apt has no index of a Debian archive: sudo apt-get update");
}

/* mmdebstrap on a thread of its own, its tar down a pipe that image_from_tar() reads. */
struct build {
	const struct sources *sources;
	int out;
	struct op *op;
	struct err err;
	int code;
};

static void *run_mmdebstrap(void *arg)
{
	struct build *b = arg;
	const char *argv[7 + SOURCES_MAX + 1] = {"mmdebstrap", "--quiet", "--variant=minbase",
		"--include=" DEBIAN_PACKAGES, "--format=tar", b->sources->suite, "-"};
	struct proc_spec spec = PROC_SPEC_INIT;

	for (size_t i = 0; i < b->sources->n; i++)
		argv[7 + i] = b->sources->lines[i];
	spec.argv = argv;
	spec.env = env;
	spec.stdout_fd = b->out;
	spec.cancel_fd = op_cancel_fd(b->op);
	spec.timeout_msec = 3600000;
	b->code = proc_run(&spec, NULL, NULL, NULL, &b->err);
	b->out = close_fd(b->out);
	return NULL;
}

/* It unpacks as an ordinary user, in a user namespace with a range of ids (mmdebstrap(1), mode unshare). */
static int check_ids(struct err *e)
{
	struct passwd *p = getpwuid(geteuid());

	if (geteuid() == 0)
		return 0;
	if (access("/usr/bin/newuidmap", X_OK) < 0)
		return err_set(e, -ENOENT, "newuidmap is not installed: apt install uidmap");
	return subid_check(p ? p->pw_name : "?", e);
}

static int build(struct build *b, int out_fd, const char *uuid_seed, struct image_result *ret, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	pthread_t thread;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "mmdebstrap");
	b->out = p[1];
	r = -pthread_create(&thread, NULL, run_mmdebstrap, b);
	if (r < 0) {
		close_fd(p[0]);
		close_fd(p[1]);
		return err_sys(e, r, "mmdebstrap");
	}
	r = image_from_tar(p[0], out_fd, uuid_seed, b->op, ret, &mine);
	close_fd(p[0]);
	pthread_join(thread, NULL);
	/* What mmdebstrap said is the reason; that its tar was short only follows from it. */
	if (b->code < 0 && b->code != -EINTR) {
		r = err_move(e, &b->err);
		err_wrap(e, "building a Debian");
		return r;
	}
	err_clear(&b->err);
	return r < 0 ? err_move(e, &mine) : 0;
}

int image_build_debian(
	int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret, struct err *e)
{
	struct sources sources = {0};
	struct build b = {.op = op, .sources = &sources};
	int r;

	if (access("/usr/bin/mmdebstrap", X_OK) < 0)
		return err_set(e, -ENOENT, "mmdebstrap is not installed: apt install mmdebstrap uidmap");
	op_stage(op, "sources");
	if ((r = check_ids(e)) == 0 && (r = sources_find(&sources, op, e)) == 0)
		r = build(&b, out_fd, uuid_seed, ret, e);
	sources_clear(&sources);
	return r;
}
