/*
 * banger-fsd: the daemon. Runs as the instance's owner, serves the tree, owns the state.
 *
 *   banger-fsd [--instance NAME] [--set KEY=VALUE]...   started by `banger up` or a unit; in the foreground
 *   banger-fsd --print-tree-doc                          docs/tree.md, from the tables
 *
 * SIGTERM and SIGINT end the daemon and leave guests and mount as they are: the next one goes on. What ends guests is the
 * verb `shutdown` of the tree's root.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <malloc.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/helper_client.h"
#include "banger/io.h"
#include "banger/journald.h"
#include "banger/place.h"
#include "facts.h"
#include "fuse/server.h"
#include "image/worker.h"
#include "offline/child.h"
#include "offline/repair.h"
#include "job/job.h"
#include "net/dns.h"
#include "net/ssh_key.h"
#include "registry/pull.h"
#include "store/store.h"
#include "tree/doc.h"
#include "vm/config.h"
#include "vm/objects.h"
#include "vm/vm.h"

#define OP_IDS_RESERVED 1000000 /* per start of the daemon; a billion starts fit in 64 bits many times over */

struct daemon {
	const char *instance;
	bool ending;   /* `shutdown`: nothing of the instance is to stay */
	char *ssh_key; /* the instance's public one; NULL: it can't be made */
	struct facts facts;
	char *command; /* `banger` in our folder; NULL: it is installed elsewhere */
	sd_event *event;
	sd_event_source *idle;
	int state_fd, run_fd, guest_fd, lock_fd;
	struct helper *helper;
	struct helper_hello hello;
	struct store *store;
	struct settings *settings;
	struct ops *ops;
	struct jobs *jobs;
	struct blobs *blobs;
	struct registry *registry;
	struct credentials_places places;
	char *runtime_dir;
	struct objects *images, *kernels;
	struct vms *vms;
	struct server *server;
	struct dns *dns;
};

static int open_place(const char *instance, enum place which, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int fd, r;

	r = place_path(instance, which, &path, e);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "%s: start banger with: sudo banger up", path);
	*ret_fd = fd;
	return 0;
}

/* One daemon an instance: the lock is held for life, and the file says who holds it. */
static int take_lock(int run_fd, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = openat(run_fd, "pid", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char pid[24];
	int n;

	if (fd < 0)
		return err_sys(e, -errno, "pid file");
	if (io_lock(fd, IO_LOCK_USEC) < 0)
		return err_set(e, -EALREADY, "another banger-fsd serves this instance already");
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
		return err_sys(e, -errno, "pid file");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The path of NAME in this program's folder; NULL. The caller's. */
static char *beside(const char *name)
{
	_cleanup_free_ char *self = realpath("/proc/self/exe", NULL);
	char *slash = self ? strrchr(self, '/') : NULL, *path;

	return slash && asprintf(&path, "%.*s/%s", (int)(slash - self), self, name) >= 0 ? path : NULL;
}

/* The command that the tree's texts name: the one in our folder, where it is there. */
static void find_command(struct daemon *d)
{
	_cleanup_free_ char *path = beside("banger");

	if (path && access(path, X_OK) == 0)
		d->command = TAKE_PTR(path);
}

/* The guest's binary lies beside this one. */
static int open_guest(int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = beside("banger-guest");
	int fd;

	if (!path)
		return err_set(e, -ENOMEM, "cannot tell where banger-guest is");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "%s", path);
	*ret_fd = fd;
	return 0;
}

static int set_option(struct daemon *d, const char *option, struct err *e)
{
	_cleanup_free_ char *key = strdup(option);
	char *value = key ? strchr(key, '=') : NULL;
	int r;

	if (!value)
		return err_set(e, -EINVAL, "--set %s: KEY=VALUE is wanted", option);
	*value++ = '\0';
	r = settings_put(d->settings, key, value, e);
	if (r == 0)
		r = store_config_set(d->store, key, value, e);
	if (r < 0)
		err_wrap(e, "--set %s", key);
	return r;
}

static int on_quit(sd_event_source *s, const struct signalfd_siginfo *si, void *user)
{
	(void)si;
	(void)user;
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

/* Once the writer of `shutdown` has its answer, and nothing else is to be done: the end. */
static int on_idle(sd_event_source *s, void *user)
{
	struct daemon *d = user;

	(void)s;
	return sd_event_exit(d->event, 0);
}

static void on_shutdown(void *user)
{
	struct daemon *d = user;

	d->ending = true;
	if (sd_event_add_defer(d->event, &d->idle, on_idle, d) < 0)
		sd_event_exit(d->event, 0);
	else
		sd_event_source_set_priority(d->idle, SD_EVENT_PRIORITY_IDLE);
}

/* NAME.vm is what it is just now: the model is asked each time, and a VM has its address while its VMM lives. */
static bool dns_addresses(void *user, const char *name, struct dns_addresses *ret)
{
	struct daemon *d = user;
	struct vm *vm = d->vms ? vms_find(d->vms, name) : NULL;
	struct vm_view view;

	if (!vm)
		return false;
	vm_view(vm, &view);
	if (view.pid == 0 || view.ip == 0)
		return false;
	ret->ip = view.ip;
	ret->has_ip6 = view.has_ip6;
	memcpy(ret->ip6, view.ip6, sizeof(ret->ip6));
	return true;
}

static const char *dns_name(void *user, uint32_t ip, const uint8_t *ip6)
{
	struct daemon *d = user;
	struct vm_view view = {0};
	struct vm *vm;

	while (d->vms && (vm = vms_next(d->vms, view.id))) {
		vm_view(vm, &view);
		if (view.pid != 0 &&
			(ip6 ? view.has_ip6 && memcmp(view.ip6, ip6, sizeof(view.ip6)) == 0 : view.ip == ip))
			return view.name;
	}
	return NULL;
}

/* A place that can't be had is no reason not to serve VMs: it is said here and in host/dns. */
static void listen_for_names(struct daemon *d, const char *place)
{
	_cleanup_err_ struct err e = {0};

	if (d->dns && dns_listen(d->dns, place, &e) < 0)
		server_log(d->server, "dns: %s", err_text(&e));
}

static void on_setting(void *user, const char *name, const char *value)
{
	if (strcmp(name, "dns_listen") == 0)
		listen_for_names(user, value);
}

static int open_dns(struct daemon *d, struct err *e)
{
	struct dns_zone zone = {
		.subnet = subnet_of(&d->hello),
		.addresses = dns_addresses,
		.name = dns_name,
		.user = d,
	};
	int r = dns_new(d->event, &zone, &d->dns, e);

	d->facts.dns = d->dns;
	if (r < 0)
		return r;
	listen_for_names(d, settings_get(d->settings, "dns_listen"));
	settings_watch(d->settings, on_setting, d);
	return 0;
}

static const char *host_fact(void *user, const char *name)
{
	struct daemon *d = user;

	return facts_get(&d->facts, name);
}

/* Images are pulled with what the owner has at home: his logins, his certificates. */
static int open_registry(struct daemon *d, struct err *e)
{
	const struct passwd *owner = getpwuid(getuid());
	const char *home = getenv("HOME"), *runtime_dir = getenv("XDG_RUNTIME_DIR");
	struct registry_config config = {0};
	int r;

	if (!runtime_dir && asprintf(&d->runtime_dir, "/run/user/%u", getuid()) < 0)
		d->runtime_dir = NULL;
	d->places = (struct credentials_places){
		.state_fd = d->state_fd,
		.home = home    ? home
			: owner ? owner->pw_dir
				: NULL,
		.runtime_dir = runtime_dir ? runtime_dir : d->runtime_dir,
		.config_home = getenv("XDG_CONFIG_HOME"),
		.docker_config = getenv("DOCKER_CONFIG"),
		.auth_file = getenv("REGISTRY_AUTH_FILE"),
	};
	r = blobs_new(d->state_fd, &d->blobs, e);
	config = (struct registry_config){.blobs = d->blobs, .places = d->places};
	return r < 0 ? r : registry_new(&config, &d->registry, e);
}

static int open_objects(struct daemon *d, struct err *e)
{
	struct objects_sources sources = {0};
	int r = open_registry(d, e);

	sources = (struct objects_sources){
		.registry = d->registry, .places = &d->places, .settings = d->settings, .blobs = d->blobs};
	if (r == 0)
		r = objects_new(
			OBJECTS_KERNELS, &sources, d->jobs, d->ops, d->store, d->state_fd, &d->kernels, e);
	sources.kernels = d->kernels;
	if (r == 0)
		r = objects_new(
			OBJECTS_IMAGES, &sources, d->jobs, d->ops, d->store, d->state_fd, &d->images, e);
	return r;
}

static int daemon_open(struct daemon *d, char *const *options, size_t n_options, struct err *e)
{
	_cleanup_free_ char *socket = NULL;
	uint64_t first_op;
	int r;

	if ((r = open_place(d->instance, PLACE_STATE, &d->state_fd, e)) < 0 ||
		(r = open_place(d->instance, PLACE_FSD_DIR, &d->run_fd, e)) < 0 ||
		(r = take_lock(d->run_fd, &d->lock_fd, e)) < 0 || (r = open_guest(&d->guest_fd, e)) < 0 ||
		(r = place_path(d->instance, PLACE_HELPER_SOCKET, &socket, e)) < 0 ||
		(r = helper_new(socket, &d->helper, e)) < 0 ||
		(r = helper_hello(d->helper, &d->hello, e)) < 0 ||
		(r = store_open(d->state_fd, &d->store, e)) < 0 ||
		(r = settings_new(d->store, &d->settings, e)) < 0)
		return r;
	find_command(d);
	for (size_t i = 0; i < n_options; i++)
		if ((r = set_option(d, options[i], e)) < 0)
			return r;
	if ((r = store_reserve_ops(d->store, OP_IDS_RESERVED, &first_op, e)) < 0 ||
		(r = ops_new(first_op, &d->ops, e)) < 0 || (r = jobs_new(d->event, &d->jobs, e)) < 0 ||
		(r = open_objects(d, e)) < 0)
		return r;
	return 0;
}

static int daemon_serve(struct daemon *d, struct err *e)
{
	_cleanup_err_ struct err no_key = {0};
	bool has_key = ssh_key_ensure(d->state_fd, &d->ssh_key, &no_key) == 0;
	struct vms_config vms = {
		.settings = d->settings,
		.store = d->store,
		.helper = d->helper,
		.images = d->images,
		.kernels = d->kernels,
		.state_fd = d->state_fd,
		.instance = d->instance,
		.run_fd = d->run_fd,
		.guest_fd = d->guest_fd,
		.home = d->places.home,
		.ssh_key = d->ssh_key,
	};
	struct server_config server = {
		.event = d->event,
		.helper = d->helper,
		.jobs = d->jobs,
		.run_fd = d->run_fd,
		.tree =
			{
				.instance = d->instance,
				.command = d->command ? d->command : "banger",
				.event = d->event,
				.jobs = d->jobs,
				.ops = d->ops,
				.store = d->store,
				.settings = d->settings,
				.images = d->images,
				.kernels = d->kernels,
				.state_fd = d->state_fd,
				.host_fact = host_fact,
				.shutdown = on_shutdown,
				.user = d,
			},
	};
	int r;

	d->facts = (struct facts){.settings = d->settings,
		.run_fd = d->run_fd,
		.helper = d->helper,
		.hello = &d->hello,
		.ssh_key = d->ssh_key};
	if ((r = server_new(&server, &d->server, e)) < 0 ||
		(r = vms_new(d->event, d->jobs, d->ops, &vms, &server_vm_watch, d->server, &d->vms, e)) < 0 ||
		(r = server_start(d->server, d->vms, e)) < 0 ||
		(r = helper_keep_mount(d->helper, server_fd(d->server), e)) < 0 || (r = open_dns(d, e)) < 0)
		return r;
	if (!has_key)
		server_log(d->server, "guests get no ssh key: %s", err_text(&no_key));
	/* Where a service manager is: it is told, and from now on it is the loop that must come round. */
	r = sd_event_set_watchdog(d->event, true);
	if (r < 0)
		return err_sys(e, r, "watchdog");
	sd_notify(false, "READY=1\nSTATUS=Serving the tree");
	r = sd_event_loop(d->event);
	return r < 0 ? err_sys(e, r, "event loop") : 0;
}

/* What is ours of the instance goes: mount, network, the files in our runtime folder. */
static void take_down(struct daemon *d)
{
	static const char *const files[] = {"fuse.init", "asked", "behind", "folders", "accel", "pid"};
	_cleanup_err_ struct err e = {0};

	if (helper_unmount(d->helper, &e) < 0)
		fprintf(stderr, "banger-fsd: %s\n", err_text(&e));
	if (helper_net_down(d->helper, &e) < 0)
		fprintf(stderr, "banger-fsd: %s\n", err_text(&e));
	unlinkat(d->run_fd, "vm", AT_REMOVEDIR);
	unlinkat(d->run_fd, "held", AT_REMOVEDIR);
	for (size_t i = 0; i < ELEMENTSOF(files); i++)
		unlinkat(d->run_fd, files[i], 0);
}

static void daemon_close(struct daemon *d)
{
	/* No new work; what runs ends, tells the model, which is still there, and whoever waits in the tree. */
	dns_free(d->dns);
	d->dns = d->facts.dns = NULL;
	server_stop(d->server);
	vms_end_background(d->vms);
	jobs_free(d->jobs);
	server_detach(d->server);
	vms_free(d->vms);
	objects_free(d->images);
	objects_free(d->kernels);
	registry_free(d->registry);
	blobs_free(d->blobs);
	server_free(d->server);
	if (d->ending)
		take_down(d);
	ops_free(d->ops);
	settings_free(d->settings);
	store_close(d->store);
	helper_free(d->helper);
	sd_event_source_disable_unref(d->idle);
	sd_event_unref(d->event);
	close_fd(d->guest_fd);
	close_fd(d->state_fd);
	close_fd(d->run_fd);
	close_fd(d->lock_fd);
	facts_clear(&d->facts);
	free(d->command);
	free(d->ssh_key);
	free(d->runtime_dir);
}

static int run(const char *instance, char *const *options, size_t n_options)
{
	struct daemon d = {.instance = instance,
		.state_fd = -EBADF,
		.run_fd = -EBADF,
		.guest_fd = -EBADF,
		.lock_fd = -EBADF};
	_cleanup_err_ struct err e = {0};
	struct rlimit files;
	sigset_t set;
	int r;

	umask(077);
	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Workers come and go: one arena for all keeps a daemon of a few MiB at that. */
	mallopt(M_ARENA_MAX, 2);
	r = sd_event_new(&d.event);
	if (r == 0)
		r = sd_event_add_signal(d.event, NULL, SIGTERM, on_quit, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGINT, on_quit, NULL);
	if (r < 0)
		err_sys(&e, r, "event loop");
	else
		r = daemon_open(&d, options, n_options, &e);
	if (r == 0)
		r = daemon_serve(&d, &e);
	if (r < 0)
		fprintf(stderr, "banger-fsd: %s\n", err_text(&e));
	daemon_close(&d);
	return r < 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"instance", required_argument, NULL, 'i'},
		{"set", required_argument, NULL, 's'}, {"print-tree-doc", no_argument, NULL, 'd'},
		{"version", no_argument, NULL, 'v'}, {0}};
	const char *instance = place_instance_default();
	char *settings[64];
	size_t n = 0;
	int option;

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], OFFLINE_ARGUMENT) == 0)
		return offline_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], REPAIR_ARGUMENT) == 0)
		return repair_main(argc, argv);
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'i':
			instance = optarg;
			break;
		case 's':
			if (n == ELEMENTSOF(settings))
				return 2;
			settings[n++] = optarg;
			break;
		case 'd':
			return tree_print_doc(stdout) < 0;
		case 'v':
			puts("banger-fsd " BANGER_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (optind != argc) {
		fprintf(stderr,
			"usage: banger-fsd [--instance NAME] [--set KEY=VALUE]...; banger up starts it\n");
		return 2;
	}
	journald_open("banger-fsd");
	return run(instance, settings, n);
}
