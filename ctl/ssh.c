/*
 * `ssh NAME.vm`. ssh(1) is told by a file of ours to ask this command for the connection, which goes through the tree and needs neither a network nor
 * an sshd in the image, to log in with the instance's own key, and to know hosts by the tree's known_hosts.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "banger/place.h"
#include "banger/proc.h"
#include "banger/ssh_config.h"
#include "ssh_file.h"
#include "tree.h"
#include "vm.h"

#define ZONE     SSH_CONFIG_ZONE
#define ASK_MSEC 30000

/* Ssh itself looks there, and not at HOME. */
static const char *home_of_user(void)
{
	const struct passwd *p = getpwuid(geteuid());

	return p ? p->pw_dir : NULL;
}

/* The file for ssh(1); NULL, and said. */
static char *make_config(struct ctl *c)
{
	_cleanup_free_ char *program = realpath("/proc/self/exe", NULL);
	_cleanup_err_ struct err e = {0};
	char *text = NULL;
	size_t n;
	FILE *out = program ? open_memstream(&text, &n) : NULL;
	int r = out ? ssh_config_write(out, c->instance, program, &e) : err_sys(&e, -ENOMEM, "banger");

	if (out && fclose(out) != 0)
		r = -ENOMEM;
	if (r == 0)
		return text;
	ctl_fail("ssh-config: %s", err_text(&e));
	free(text);
	return NULL;
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
	spec.timeout_msec = ASK_MSEC;
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

/* The connection is our standard input and output: its other end is a job of the guest's that is a server for it alone. */
static int do_connect(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *name = NULL, *state = NULL;

	if (argc != 2)
		return ctl_usage(ctl_command("ssh-config connect"));
	name = vm_of(argv[1]);
	if (!name || !ctl_need_tree(c))
		return EXIT_FAILED;
	state = tree_read(c, "vms/%s/state", name);
	if (!state)
		return ctl_fail("%s: there is no such VM: banger vm ls", name);
	if (strcmp(state, "running") != 0)
		return ctl_fail("%s is %s: banger vm %s %s", name, state,
			strcmp(state, "paused") == 0 ? "resume" : "start", name);
	return exec_ssh(c, name);
}

const struct command commands_ssh[] = {
	{"ssh-config install", "", "make `ssh NAME" ZONE "` go to VMs, by one line in ~/.ssh/config",
		install},
	{"ssh-config uninstall", "", "take it out again; ~/.ssh is as it was", uninstall},
	{"ssh-config print", "", "what ssh is told, for whoever keeps its configuration himself", print},
	{"ssh-config connect", "NAME" ZONE, "for ssh: a connection to the VM, as standard input and output",
		do_connect},
	{NULL, NULL, NULL, NULL},
};
