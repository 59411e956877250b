#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "engine/engine.h"
#include "engine/vmm_json.h"

#define EXIT_MAX     65536
#define WRITTEN_MSEC 1000
#define LOOK_MSEC    10

void engine_exit_clear(struct engine_exit *x)
{
	free(x->reason);
	free(x->text);
	*x = (struct engine_exit){0};
}

/* Why, of a SHUTDOWN or GUEST_PANICKED event: the second says more than the first. */
static void take_event(struct engine_exit *x, const char *line)
{
	json_object *o = vmm_json_parse(line), *data;
	const char *event = vmm_json_text(o, "event"), *text = NULL;

	if (event && strcmp(event, "GUEST_PANICKED") == 0)
		text = "guest-panic";
	else if (event && (!x->reason || strcmp(x->reason, "guest-panic") != 0) &&
		 json_object_object_get_ex(o, "data", &data))
		text = vmm_json_text(data, "reason");
	/* A word of QEMU's, no more: it ends up in files that people read. */
	if (text && strspn(text, "abcdefghijklmnopqrstuvwxyz-") == strlen(text) && strlen(text) < 64) {
		free(x->reason);
		x->reason = strdup(text);
	}
	json_object_put(o);
}

int engine_read_exit(int fd, struct engine_exit *ret, struct err *e)
{
	_cleanup_(engine_exit_clear) struct engine_exit x = {0};
	_cleanup_free_ char *path = NULL, *text = NULL, *words = NULL;
	char *rest, *line;
	size_t size = 0;
	FILE *out = open_memstream(&words, &size);
	uint64_t v;
	int r;

	if (!out || asprintf(&path, "/proc/self/fd/%d", fd) < 0) {
		path = NULL;
		if (out)
			fclose(out);
		return err_sys(e, -ENOMEM, "exit file");
	}
	r = io_read_file(AT_FDCWD, path, EXIT_MAX, &text, NULL, e);
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n"))) {
		if (strncmp(line, "exit ", 5) == 0 && parse_u64(line + 5, 0, 255, &v) == 0) {
			x.known = true;
			x.code = (int)v;
		} else if (strncmp(line, "signal ", 7) == 0 && parse_u64(line + 7, 1, 64, &v) == 0) {
			x.known = true;
			x.signal = (int)v;
		} else if (strncmp(line, "event ", 6) == 0) {
			take_event(&x, line + 6);
		} else if (strncmp(line, "stderr ", 7) == 0) {
			for (char *c = line + 7; *c; c++)
				fputc((unsigned char)*c < ' ' || *c == 127 ? '?' : *c, out);
			fputc('\n', out);
		}
	}
	if (fclose(out) != 0 && r == 0)
		r = err_sys(e, -ENOMEM, "exit file");
	if (r < 0)
		return r;
	x.text = TAKE_PTR(words);
	if (!x.reason)
		x.reason = strdup("");
	*ret = x;
	x = (struct engine_exit){0};
	return 0;
}

int engine_await_exit(int fd, struct engine_exit *ret, struct err *e)
{
	struct pollfd none = {.fd = -1};
	int r = engine_read_exit(fd, ret, e);

	for (unsigned waited = 0; r == 0 && !ret->known && waited < WRITTEN_MSEC; waited += LOOK_MSEC) {
		poll(&none, 1, LOOK_MSEC);
		engine_exit_clear(ret);
		r = engine_read_exit(fd, ret, e);
	}
	return r;
}

const char *engine_exit_words(int code)
{
	static const struct {
		int code;
		const char *words;
	} rows[] = {
		{2, "an error that it did not expect of itself"},
		{148, "it made a system call that its filter forbids"},
		{149, "an error of memory (SIGBUS): is the disk full?"},
		{150, "an error of memory (SIGSEGV)"},
		{151, "a file grew beyond its limit"},
		{152, "it was configured wrongly"},
		{153, "it was called wrongly"},
		{154, "it used up its processor time"},
		{155, "a connection that broke (SIGPIPE)"},
		{156, "it was hung up on"},
		{157, "an instruction that this processor doesn't have"},
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		if (rows[i].code == code)
			return rows[i].words;
	return "";
}
