#include <fcntl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "agent.h"
#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/parse.h"
#include "boot.h"
#include "guest.h"
#include "power.h"
#include "receive.h"
#include "repo.h"
#include "ssh.h"

void guest_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("banger-guest: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs("\n", stderr);
	va_end(ap);
}

/*
 * banger-guest agent --fd N --root DIR [--tree DIR] [--listen TOKEN]: the agent on a connected socket, with a folder as its work disk and one as the root of
 * all files, for tests on a host; with TOKEN, in hexadecimal digits, on a listening one.
 */
static int agent_by_hand(int argc, char **argv)
{
	struct agent_life life = {0};
	enum channel_kind kind = CHANNEL_SOCKET;
	const char *root = "/root", *tree = NULL;
	uint8_t token[AGENT_TOKEN];
	uint64_t fd = 3;

	for (int i = 2; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--root") == 0)
			root = argv[i + 1];
		else if (strcmp(argv[i], "--tree") == 0)
			tree = argv[i + 1];
		else if (strcmp(argv[i], "--listen") == 0 &&
			 parse_hex(argv[i + 1], token, sizeof(token)) == 0)
			kind = CHANNEL_VSOCK;
		else if (strcmp(argv[i], "--fd") != 0 || parse_u64(argv[i + 1], 0, 1 << 20, &fd) < 0)
			return 2;
	}
	/* Not the jobs'. */
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	return agent_run((int)fd, kind, kind == CHANNEL_VSOCK ? token : NULL, root, tree ? tree : root,
		       AGENT_BY_HAND, &life) < 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} ssh_commands[] = {{"receive", ssh_receive}, {"serve", ssh_serve}, {"session", ssh_session}};

int main(int argc, char **argv)
{
	const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;

	if (argc > 0 && strcmp(name ? name + 1 : argv[0], "git") == 0)
		return repo_git(argv);
	for (size_t i = 0; argc == 3 && strcmp(argv[1], "ssh") == 0 && i < ELEMENTSOF(ssh_commands); i++)
		if (strcmp(argv[2], ssh_commands[i].name) == 0)
			return ssh_commands[i].run();
	if (argc > 1 && strcmp(argv[1], "agent") == 0)
		return agent_by_hand(argc, argv);
	if (argc == 4 && strcmp(argv[1], "workspace") == 0 && strcmp(argv[2], "receive") == 0)
		return receive_run(argv[3]);
	if (argc > 3 && strcmp(argv[1], "workspace") == 0)
		return repo_run(argc - 2, argv + 2);
	if (getpid() != 1) {
		fprintf(stderr,
			"banger-guest " BANGER_VERSION ": runs as the first process of a banger VM\n");
		return 2;
	}
	/* systemd's last act: /run/initramfs/shutdown poweroff|reboot|halt. */
	if (argc > 1 && argv[0] && strstr(argv[0], "shutdown"))
		power_off_now();
	boot_run(argv[0]);
	return 1;
}
