/*
 * banger-helper --owner UID [--instance NAME]: the only part of banger that is root. docs/privileges.md says what it does for whom.
 * banger-helper --keep-namespace: has the service manager keep the host's mount namespace, for the helper that is to be started.
 * banger-helper --dial: connects the daemon, whose unit can't by itself, to guests' vsocks; on its standard input, as anybody.
 * banger-helper --compare-nft [--instance NAME]: for `banger doctor`, whether the nft tables are as the helper makes them; changes nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/journald.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "calls.h"
#include "caps.h"
#include "dial.h"
#include "filter.h"
#include "instance.h"
#include "journal.h"
#include "launcher.h"
#include "mounter.h"
#include "nat.h"
#include "scope.h"
#include "server.h"
#include "service.h"

#define FILES_WANTED                                                                                         \
	(3 * INSTANCE_VMS_MAX + 128) /* what is held of a VM (calls_state.h), of as many as there are slots */

/* Only what root may move things with is left of the environment: the folders (place.h), Firecracker's (program.h). */
static int scrub_environment(void)
{
	static const char *const kept[] = {"BANGER_RUN_BASE", "BANGER_STATE_BASE", "BANGER_FIRECRACKER_DIR"};
	char *values[ELEMENTSOF(kept)] = {NULL};

	for (size_t i = 0; i < ELEMENTSOF(kept); i++)
		if (getenv(kept[i]) && !(values[i] = strdup(getenv(kept[i]))))
			return -ENOMEM;
	clearenv();
	for (size_t i = 0; i < ELEMENTSOF(kept); i++) {
		if (values[i] && setenv(kept[i], values[i], 1) < 0)
			return -errno;
		free(values[i]);
	}
	return 0;
}

static int watch_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int raise_limit(struct err *e)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(e, -errno, "limit of descriptors");
	if (files.rlim_cur < FILES_WANTED)
		files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
	return setrlimit(RLIMIT_NOFILE, &files) < 0 ? err_sys(e, -errno, "limit of descriptors") : 0;
}

/* Ready once what an earlier helper left is known: a restart is over by then. */
static int serve(const struct instance *inst, struct helper_state *s, int sock, int signals, struct err *e)
{
	calls_reconcile(s);
	service_ready(inst->service);
	return server_run(inst, s, sock, signals, e);
}

/* Each with rights of its own. Of the host's mount namespace only the first has anything. */
static int make_children(struct instance *inst, struct launcher **ret_launcher, struct err *e)
{
	_cleanup_close_ int namespace_fd = service_take_namespace(inst->service);
	int r;

	if ((r = mounter_new(inst, namespace_fd, &inst->mounter, e)) < 0 ||
		(r = scopes_new(inst, &inst->scopes, e)) < 0)
		return r;
	return launcher_new(inst, ret_launcher, e);
}

static int run(const char *name, uid_t owner, struct service *service, struct err *e)
{
	_cleanup_(instance_close) struct instance inst = {
		.run_fd = -EBADF, .helper_fd = -EBADF, .jails_fd = -EBADF};
	_cleanup_close_ int signals = watch_signals(), sock = -EBADF;
	struct helper_state *s = NULL;
	struct journal *journal = NULL;
	struct launcher *launcher = NULL;
	int r = instance_open(name, owner, &inst, e);

	inst.service = service;
	if (r < 0 || (r = journal_open(inst.helper_fd, INSTANCE_VMS_MAX, &journal, e)) < 0 ||
		(r = make_children(&inst, &launcher, e)) < 0 || (r = raise_limit(e)) < 0 ||
		(r = calls_new(&inst, journal, launcher, &s, e)) < 0 ||
		(r = server_listen(&inst, &sock, e)) < 0 || (r = caps_helper(e)) < 0 ||
		(r = filter_install(e)) < 0 || (r = serve(&inst, s, sock, signals, e)) < 0)
		fprintf(stderr, "banger-helper: %s\n", err_text(e));
	/* A stop leaves what runs; where nothing is left to speak of, nothing stays but what is the service manager's. */
	if (r == 0 && !service && journal_empty(journal))
		instance_remove(&inst);
	calls_free(s);
	launcher_free(launcher);
	scopes_free(inst.scopes);
	mounter_free(inst.mounter);
	journal_close(journal);
	return r;
}

static int compare_nft(const char *name)
{
	_cleanup_(instance_close) struct instance inst = {
		.run_fd = -EBADF, .helper_fd = -EBADF, .jails_fd = -EBADF};
	_cleanup_err_ struct err e = {0};
	struct nat *nat = NULL;
	int r;

	if ((r = instance_names(name, &inst, &e)) == 0 && (r = nat_new(&inst, &nat, &e)) == 0)
		r = nat_compare(nat, &e);
	if (r < 0)
		puts(err_text(&e));
	nat_free(nat);
	return r < 0;
}

static int keep_namespace(void)
{
	_cleanup_err_ struct err e = {0};
	struct service *service = NULL;
	int r = service_new(&service, &e);

	if (r == 0)
		r = service_keep_namespace(service, &e);
	if (r < 0)
		fprintf(stderr, "banger-helper: %s\n", err_text(&e));
	service_free(service);
	return r < 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"owner", required_argument, NULL, 'o'},
		{"instance", required_argument, NULL, 'i'}, {"compare-nft", no_argument, NULL, 'c'},
		{"keep-namespace", no_argument, NULL, 'k'}, {"dial", no_argument, NULL, 'd'},
		{"version", no_argument, NULL, 'v'}, {0}};
	_cleanup_err_ struct err e = {0};
	struct service *service = NULL;
	const char *name = "";
	bool compare = false, keep = false, dial = false;
	uint64_t owner = 0;
	int option, r;

	/* An empty argument list has no place in a program that is root. */
	if (argc < 1)
		return 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'o':
			if (parse_u64(optarg, 1, UINT32_MAX - 1, &owner) == 0)
				break;
			fprintf(stderr, "banger-helper: --owner %s: the number of a user other than root\n",
				optarg);
			return 2;
		case 'i':
			name = optarg;
			if (name_instance_valid(name))
				break;
			fprintf(stderr, "banger-helper: --instance %s: 1 to 6 of a-z 0-9, a letter first\n",
				optarg);
			return 2;
		case 'c':
			compare = true;
			break;
		case 'k':
			keep = true;
			break;
		case 'd':
			dial = true;
			break;
		case 'v':
			puts("banger-helper " BANGER_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (compare && owner == 0 && optind == argc && geteuid() == 0)
		return compare_nft(name);
	if (dial && owner == 0 && optind == argc)
		return dial_serve(STDIN_FILENO) < 0;
	if (keep && owner == 0 && optind == argc)
		return keep_namespace();
	if (owner == 0 || optind != argc || geteuid() != 0) {
		fprintf(stderr, "usage: banger-helper --owner UID [--instance NAME], as root; banger up does "
				"it, or banger system install\n");
		return 2;
	}
	umask(077);
	journald_open("banger-helper");
	if (service_new(&service, &e) < 0) {
		fprintf(stderr, "banger-helper: %s\n", err_text(&e));
		return 1;
	}
	if (scrub_environment() < 0 || chdir("/") < 0)
		return 1;
	r = run(name, (uid_t)owner, service, &e);
	service_free(service);
	return r < 0;
}
