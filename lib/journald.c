#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "banger/cleanup.h"
#include "banger/journald.h"

#define SOCKET "/run/systemd/journal/socket"

static int journal = -1;
static const char *identifier;

void journald_open(const char *name)
{
	static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET};
	const char *stream = getenv("JOURNAL_STREAM");
	uint64_t dev, ino;
	struct stat st;

	identifier = name;
	/* Inherited from somebody whose standard error is another, it says nothing of ours. */
	if (!stream || sscanf(stream, "%" SCNu64 ":%" SCNu64, &dev, &ino) != 2 ||
		fstat(STDERR_FILENO, &st) < 0 || st.st_dev != dev || st.st_ino != ino)
		return;
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (journal >= 0 && connect(journal, (const struct sockaddr *)&address, sizeof(address)) < 0)
		journal = close_fd(journal);
}

static void put(FILE *out, const char *name, const char *value)
{
	fputs(name, out);
	for (; *value; value++)
		fputc((unsigned char)*value < ' ' ? '?' : *value, out);
	fputc('\n', out);
}

bool journald_line(int priority, const char *message, const char *const *fields)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out;

	if (journal < 0)
		return false;
	out = open_memstream(&text, &size);
	if (!out)
		return false;
	put(out, "MESSAGE=", message);
	put(out, "SYSLOG_IDENTIFIER=", identifier);
	fprintf(out, "PRIORITY=%d\n", priority);
	for (; *fields; fields++)
		put(out, "", *fields);
	return fclose(out) == 0 && send(journal, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}
