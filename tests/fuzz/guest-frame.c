/*
 * What a hostile guest may send into the agent's client: the input is its side of the stream, after a request of every kind and a
 * job are under way. The first byte says in what pieces it comes. Whatever it is, every callback comes once.
 */
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "guest/files.h"

struct tally {
	struct agent *agent;
	unsigned asked, answered, started, ended;
	struct agent_job *job;
};

static void on_lost(void *user, const struct err *why)
{
	struct tally *t = user;

	(void)why;
	t->agent = agent_free(t->agent);
}

static void on_attr(void *user, int code, const struct agent_attr *attr)
{
	if ((code == 0) != (attr != NULL))
		abort();
	((struct tally *)user)->answered++;
}

static void on_done(void *user, int code)
{
	(void)code;
	((struct tally *)user)->answered++;
}

static void on_text(void *user, int code, const void *data, size_t n)
{
	if (code == 0 && (n == 0 || n > 4095 || memchr(data, '\0', n)))
		abort();
	((struct tally *)user)->answered++;
}

static void on_data(void *user, int code, const void *data, size_t n)
{
	volatile uint8_t last;

	if (n > 4096 || (code < 0 && n > 0))
		abort();
	/* It can be read to its end. */
	for (size_t i = 0; i < n; i++)
		last = ((const uint8_t *)data)[i];
	(void)last;
	((struct tally *)user)->answered++;
}

static void on_entries(void *user, int code, const void *data, size_t n)
{
	struct files_dirent d;

	if (code == 0)
		while (files_dirent_next(&data, &n, true, &d) > 0)
			if (memchr(d.name, '/', d.name_size) || d.name_size > 255)
				abort();
	((struct tally *)user)->answered++;
}

static void on_count(void *user, int code, uint32_t n)
{
	(void)code;
	if (n > 4)
		abort();
	((struct tally *)user)->answered++;
}

static void on_statfs(void *user, int code, const struct files_statfs *st)
{
	if ((code == 0) != (st != NULL))
		abort();
	((struct tally *)user)->answered++;
}

static void on_offset(void *user, int code, uint64_t offset)
{
	(void)code;
	if (offset > INT64_MAX)
		abort();
	((struct tally *)user)->answered++;
}

static void on_started(void *user, int code)
{
	struct tally *t = user;

	t->started++;
	if (code < 0)
		t->job = NULL;
}

static void on_output(void *user, int stream, const void *data, size_t n)
{
	struct tally *t = user;

	(void)data;
	if (n > AGENT_WINDOW || !t->job)
		abort();
	if (n % 2)
		agent_job_consumed(t->job, stream, n);
}

static void on_writable(void *user)
{
	struct tally *t = user;

	if (agent_job_room(t->job) > AGENT_WINDOW)
		abort();
}

static void on_ended(void *user, uint32_t kind, uint32_t code)
{
	struct tally *t = user;

	if (kind > 2 || code > 255 || !t->job)
		abort();
	t->job = NULL;
	t->ended++;
}

static const struct agent_job_events events = {
	.started = on_started, .output = on_output, .writable = on_writable, .ended = on_ended};

static void on_changed(void *user, const void *data, size_t n)
{
	struct files_names names;
	struct file_ref file;
	uint64_t hash;
	uint32_t flags;
	int r = files_changed_flags(&data, &n, &flags, &names);

	(void)user;
	if (r <= 0)
		return;
	while ((r = files_changed_next(&data, &n, &file)) > 0)
		continue;
	if (r == 0 && n > 0)
		abort();
	while ((r = files_changed_name(&names, &file, &hash)) > 0)
		continue;
	if (r < 0 || names.n > 0)
		abort();
}

/* Numbers begin at random; the input's count from where this agent's begin. */
static void shift_ids(uint8_t *data, size_t n, uint32_t base)
{
	size_t at = 0;

	while (n - at >= AGENT_HEADER) {
		struct agent_header h;

		memcpy(&h, data + at, sizeof(h));
		h.id += base;
		memcpy(data + at, &h, sizeof(h));
		if (h.length > n - at - AGENT_HEADER)
			return;
		at += AGENT_HEADER + h.length;
	}
}

static void ask(struct tally *t, uint32_t *ret_base)
{
	const struct agent_exec what = {.argv = (const char *const[]){"a", NULL}, .want_stdin = true};
	const struct file_ref root = {0};
	int r = 0;

	r |= files_getattr(t->agent, root, on_attr, t, ret_base);
	r |= files_readlink(t->agent, root, on_text, t, NULL);
	r |= files_read(t->agent, root, 0, 4096, on_data, t, NULL);
	r |= files_readdir(t->agent, root, 0, 65536, true, on_entries, t, NULL);
	r |= files_write(t->agent, root, 0, "abcd", 4, false, on_count, t, NULL);
	r |= files_statfs(t->agent, root, on_statfs, t, NULL);
	r |= files_lseek(t->agent, root, 0, SEEK_DATA, on_offset, t, NULL);
	r |= files_unlink(t->agent, root, "a", on_done, t, NULL);
	r |= files_copy(t->agent, root, 0, root, 0, 4, on_count, t, NULL);
	r |= files_watch(t->agent, false, on_changed, on_done, t, NULL);
	t->asked = 10;
	r |= agent_exec(t->agent, &what, &events, t, &t->job, NULL);
	if (r != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tally t = {0};
	sd_event *event = NULL;
	size_t piece, at = 0;
	uint8_t *copy;
	uint32_t base;
	int fds[2];

	if (size < 1)
		return 0;
	piece = data[0] ? data[0] : 4096;
	copy = malloc(size);
	if (!copy || sd_event_new(&event) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ||
		agent_new(event, fds[0], on_lost, &t, &t.agent, NULL) < 0)
		abort();
	ask(&t, &base);
	memcpy(copy, data + 1, --size);
	shift_ids(copy, size, base);
	while (at < size && t.agent) {
		ssize_t n = send(fds[1], copy + at, piece < size - at ? piece : size - at, MSG_NOSIGNAL);

		at += n > 0 ? (size_t)n : 0;
		while (sd_event_run(event, 0) > 0)
			continue;
	}
	close_fd(fds[1]);
	for (int i = 0; t.agent && i < 10000; i++)
		sd_event_run(event, 1000000);
	/* The end of the stream has been seen, and everybody told. */
	if (t.agent || t.answered != t.asked || t.started != 1 || t.ended > 1 || t.job)
		abort();
	sd_event_unref(event);
	free(copy);
	return 0;
}
