/*
 * `ssh NAME.vm`. ssh(1) is told by a file of ours to ask this command for three things: the connection (no DNS needed), the host's keys,
 * which come from the guest by its agent and not by the network, and the key to log in with, the instance's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "banger/place.h"
#include "banger/proc.h"
#include "ssh_file.h"
#include "tree.h"

#define ZONE         ".vm"
#define CONNECT_SECS 20
#define KEYS_MSEC    30000
#define KEYS_MAX     65536
#define KEY_COUNT    16 /* ssh-keygen -A makes three */

/* What a path may not have for all of ssh_config(5), the shell and ssh's % and $ to take it as it is. */
#define PATH_BAD "'\"\\%$`\n\r\t"

/* Ssh itself looks there, and not at HOME. */
static const char *home_of_user(void)
{
	const struct passwd *p = getpwuid(geteuid());

	return p ? p->pw_dir : NULL;
}

/* The file for ssh(1); NULL, and said. */
static char *make_config(struct ctl *c)
{
	_cleanup_free_ char *program = realpath("/proc/self/exe", NULL), *state = NULL, *instance = NULL;
	_cleanup_err_ struct err e = {0};
	char *text = NULL;

	if (!program || place_path(c->instance, PLACE_STATE, &state, &e) < 0 ||
		asprintf(&instance, "%s%s", *c->instance ? " --instance " : "", c->instance) < 0) {
		instance = NULL;
		ctl_fail("ssh-config: %s", err_text(&e));
		return NULL;
	}
	if (strpbrk(program, PATH_BAD) || strpbrk(state, PATH_BAD)) {
		ctl_fail("ssh-config: ssh can't be given these paths: %s, %s", program, state);
		return NULL;
	}
	/* A name with a quote could end the one around it, and the rest would be the shell's. */
	if (asprintf(&text,
		    "Host *" ZONE " \"!*'*\"\n"
		    "\tUser root\n"
		    "\tIdentityFile \"%s/ssh/id_ed25519\"\n"
		    "\tIdentitiesOnly yes\n" /* an agent with many keys would use up all tries before ours */
		    "\tProxyCommand '%s'%s ssh-config connect '%%h' '%%p'\n"
		    "\tProxyUseFdpass yes\n"
		    "\tKnownHostsCommand \"%s\"%s ssh-config host-keys %%n %%H\n"
		    "\tUserKnownHostsFile /dev/null\n"
		    "\tGlobalKnownHostsFile /dev/null\n"
		    "\tStrictHostKeyChecking yes\n"
		    "\tUpdateHostKeys no\n",
		    state, program, instance, program, instance) < 0) {
		ctl_fail("ssh-config: out of memory");
		return NULL;
	}
	return text;
}

static int print(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *text = NULL;

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("ssh-config print"));
	text = make_config(c);
	if (!text)
		return EXIT_FAILED;
	fputs(text, stdout);
	return EXIT_OK;
}

/* A file that this ssh can't read would stop it from going anywhere. */
static int ssh_reads(const char *path, struct err *e)
{
	const char *argv[] = {"ssh", "-G", "-F", path, "box" ZONE, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	spec.argv = argv;
	spec.timeout_msec = KEYS_MSEC;
	r = proc_run(&spec, NULL, NULL, NULL, e);
	if (r == -ENOENT)
		return err_set(e, r, "there is no ssh on this host: apt install openssh-client");
	if (r < 0)
		err_wrap(e, "this ssh can't use it (OpenSSH 8.5 or later is wanted)");
	return r;
}

static int install(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *text = NULL, *state = NULL, *key = NULL;
	_cleanup_err_ struct err e = {0};
	const char *home = home_of_user();

	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("ssh-config install"));
	if (!home)
		return ctl_fail("ssh-config install: you have no entry in /etc/passwd");
	text = make_config(c);
	if (!text)
		return EXIT_FAILED;
	if (place_path(c->instance, PLACE_STATE, &state, &e) < 0 ||
		asprintf(&key, "%s/ssh/id_ed25519", state) < 0) {
		key = NULL;
		return ctl_fail("ssh-config install: %s", err_text(&e));
	}
	if (access(key, R_OK) < 0)
		return ctl_fail("ssh-config install: %s: %s%s", key, strerror(errno),
			errno == EACCES   ? ": it is for the owner of this instance"
			: errno == ENOENT ? ": banger makes it when it comes up: banger up"
					  : "");
	if (ssh_file_install(home, text, ssh_reads, &e) < 0)
		return ctl_fail("ssh-config install: %s", err_text(&e));
	printf("ssh NAME" ZONE " goes to the VM NAME from now on, as its root\n");
	return EXIT_OK;
}

static int uninstall(struct ctl *c, int argc, char **argv)
{
	_cleanup_err_ struct err e = {0};
	const char *home = home_of_user();
	int done;

	(void)c;
	(void)argv;
	if (argc != 1)
		return ctl_usage(ctl_command("ssh-config uninstall"));
	if (!home)
		return ctl_fail("ssh-config uninstall: you have no entry in /etc/passwd");
	if (ssh_file_uninstall(home, &done, &e) < 0)
		return ctl_fail("ssh-config uninstall: %s", err_text(&e));
	puts(done ? "~/.ssh is as it was" : "nothing was installed");
	return EXIT_OK;
}

/* The VM of "NAME.vm"; the caller's; NULL, and said. */
static char *vm_of(const char *host)
{
	size_t n = strlen(host);
	char *name;

	if (n <= strlen(ZONE) || strcasecmp(host + n - strlen(ZONE), ZONE) != 0) {
		ctl_fail("ssh-config: NAME" ZONE " is wanted");
		return NULL;
	}
	name = strndup(host, n - strlen(ZONE));
	for (char *p = name; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	if (name && !name_vm_valid(name)) {
		ctl_fail("that is no VM's name: 1 to %d of a-z 0-9 -, no - at either end", NAME_VM_MAX);
		free(name);
		return NULL;
	}
	return name;
}

/* The VM's address; false, and said. */
static bool find_address(struct ctl *c, const char *name, uint32_t *ret)
{
	_cleanup_free_ char *state = tree_read(c, "vms/%s/state", name), *ip = NULL;

	if (!state) {
		ctl_fail("%s: there is no such VM: banger vm ls", name);
		return false;
	}
	if (strcmp(state, "running") != 0) {
		ctl_fail("%s is %s: banger vm %s %s", name, state,
			strcmp(state, "paused") == 0 ? "resume" : "start", name);
		return false;
	}
	ip = tree_read(c, "vms/%s/ip", name);
	if (!ip || parse_ipv4(ip, ret) < 0) {
		ctl_fail("%s has no address", name);
		return false;
	}
	return true;
}

/* Connects, and gives ssh the socket itself: nothing of ours stands between (ssh_config(5), ProxyUseFdpass). */
static int do_connect(struct ctl *c, int argc, char **argv)
{
	struct sockaddr_in there = {.sin_family = AF_INET};
	struct timeval patience = {.tv_sec = CONNECT_SECS};
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint32_t address;
	struct stat st;
	uint64_t port;
	int r;

	if (argc != 3 || parse_u64(argv[2], 1, UINT16_MAX, &port) < 0)
		return ctl_usage(ctl_command("ssh-config connect"));
	if (fstat(STDOUT_FILENO, &st) < 0 || !S_ISSOCK(st.st_mode))
		return ctl_fail("ssh-config connect: this is for ssh to call: banger ssh-config install");
	name = vm_of(argv[1]);
	if (!name || !ctl_need_tree(c) || !find_address(c, name, &address))
		return EXIT_FAILED;
	there.sin_addr.s_addr = htonl(address);
	there.sin_port = htons((uint16_t)port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0)
		return ctl_fail("%s: %s", name, strerror(errno));
	if (connect(fd, (struct sockaddr *)&there, sizeof(there)) < 0) {
		/* EINPROGRESS: what connect(2) says when SO_SNDTIMEO is over. */
		r = errno == EINPROGRESS ? ETIMEDOUT : errno;
		return ctl_fail("%s, port %s: %s%s", name, argv[2], strerror(r),
			r == ECONNREFUSED ? ": does its image run an sshd? banger vm shell needs none" : "");
	}
	patience = (struct timeval){0};
	(void)!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	r = io_send_fds(STDOUT_FILENO, "", 1, &fd, 1);
	return r < 0 ? ctl_fail("%s: ssh: %s", name, strerror(-r)) : EXIT_OK;
}

/* "TYPE BASE64 ..." of a host key's file; the guest may have written anything. */
static bool key_valid(const char *type, const char *key)
{
	return type && key && *key && strlen(type) < 64 &&
	       (strncmp(type, "ssh-", 4) == 0 || strncmp(type, "ecdsa-", 6) == 0 ||
		       strncmp(type, "sk-", 3) == 0) &&
	       type[strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-@.")] == '\0' &&
	       key[strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")] == '\0';
}

/* What the guest says its keys are, over the agent's channel, which nobody else can be at. In the form of known_hosts, for the host AS. */
static int host_keys(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *program = realpath("/proc/self/exe", NULL), *name = NULL, *text = NULL;
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err e = {0};
	const char *as = argc == 3 ? argv[2] : argv[1];
	char *rest, *line;
	unsigned n = 0;

	if (argc < 2 || argc > 3)
		return ctl_usage(ctl_command("ssh-config host-keys"));
	name = vm_of(argv[1]);
	if (!name || !program)
		return EXIT_FAILED;
	if (strpbrk(as, " \t\r\n"))
		return ctl_fail("ssh-config host-keys: that is no host");
	spec.argv = (const char *const[]){program, "--instance", c->instance, "vm", "exec", name, "--", "sh",
		"-c", "cat /etc/ssh/ssh_host_*_key.pub", NULL};
	spec.env = (const char *const *)environ;
	spec.max_output = KEYS_MAX;
	spec.timeout_msec = KEYS_MSEC;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		return ctl_fail("%s: its host keys can't be read: %s", name, err_text(&e));
	for (rest = text; n < KEY_COUNT && (line = strsep(&rest, "\n"));) {
		const char *type = strsep(&line, " "), *key = strsep(&line, " ");

		if (key_valid(type, key)) {
			printf("%s %s %s\n", as, type, key);
			n++;
		}
	}
	return n > 0 ? EXIT_OK : ctl_fail("%s has no host keys in /etc/ssh", name);
}

const struct command commands_ssh[] = {
	{"ssh-config install", "", "make `ssh NAME" ZONE "` go to VMs, by one line in ~/.ssh/config",
		install},
	{"ssh-config uninstall", "", "take it out again; ~/.ssh is as it was", uninstall},
	{"ssh-config print", "", "what ssh is told, for whoever keeps its configuration himself", print},
	{"ssh-config connect", "NAME" ZONE " PORT", "for ssh: a connection to the VM, passed on", do_connect},
	{"ssh-config host-keys", "NAME" ZONE " [HOST]", "for ssh: the VM's host keys, from the guest itself",
		host_keys},
	{NULL, NULL, NULL, NULL},
};
