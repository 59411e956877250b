/* What a hostile guest may answer while a checkout is brought: the input is its side of the stream, to its end. */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/send.h"

static char top[] = "/tmp/banger-fuzz-XXXXXX";
static int source = -1;
static const char *const names[] = {"a", "b", "c"};

static void end(void)
{
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		unlinkat(source, names[i], 0);
	rmdir(top);
}

static void begin(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(top) || (source = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || atexit(end) != 0)
		abort();
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_close_ int fd = openat(source, names[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0 || io_write_full(fd, names[i], 1) < 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_err_ struct err e = {0};
	struct send_result result;
	struct checkout c;
	int pair[2], r;

	if (source < 0)
		begin();
	/* More than the socket holds would wait for a reader. */
	if (size > 64 * 1024 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	if (io_write_full(pair[1], data, size) < 0 || shutdown(pair[1], SHUT_WR) < 0)
		abort();
	if (checkout_look(top, "", NULL, source, NULL, NULL, &c, NULL) < 0)
		abort();
	/* A history, so that heads are asked for too. */
	if (prepared_add_repo(c.now, "", "ref: refs/heads/main", "0123", "4567", "89ab", "cdef") < 0)
		abort();
	r = checkout_send(&c, NULL, false, pair[0], NULL, &result, &e);
	if ((r < 0) != (e.code < 0) || (r < 0 && (!e.text || strchr(e.text, '\n') || strchr(e.text, 27))))
		abort();
	checkout_clear(&c);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
