/* What a VMM tells by itself, through fifos (engine/engine.h): its log's lines go into the VM's log, what it counts is added up. */
#include <errno.h>
#include <fcntl.h>

#include "banger/io.h"
#include "vm/model.h"

#define LINE_MAX_ 65536 /* a longer one is passed over: Firecracker's metrics are 12 KiB */
#define AT_ONCE   16384 /* bytes */
#define FIFO_SIZE 65536 /* pipe(7) */
#define LOG_LINES 100   /* of one run: what is in the VM's log besides is worth more */
#define LOG_WIDTH 500

struct words {
	struct vm *vm;
	int fd;
	sd_event_source *source;
	void (*take)(struct vm *vm, char *line);
	size_t have;
	bool too_long;
	char line[LINE_MAX_];
};

static void words_free(struct words *w)
{
	if (!w)
		return;
	sd_event_source_disable_unref(w->source);
	close_fd(w->fd);
	free(w);
}

static void take_log(struct vm *vm, char *line)
{
	if (!*line || vm->words.told == LOG_LINES)
		return;
	for (char *c = line; *c; c++)
		if ((unsigned char)*c >= 127)
			*c = '?';
	vm_log(vm, "the VMM: %.*s", LOG_WIDTH, line);
	if (++vm->words.told == LOG_LINES)
		vm_log(vm, "the VMM says more: it is left out until the next start");
}

static void take_metrics(struct vm *vm, char *line)
{
	vm->engine->count(line, &vm->words.disks);
}

/* One read, no more: who says it may say it without end, and others wait for the loop. False: nothing is there now. */
static bool hear(struct words *w)
{
	size_t room = sizeof(w->line) - w->have, from = 0;
	ssize_t n = read(w->fd, w->line + w->have, room < AT_ONCE ? room : AT_ONCE);
	char *end;

	if (n <= 0)
		return false;
	w->have += (size_t)n;
	while ((end = memchr(w->line + from, '\n', w->have - from))) {
		*end = '\0';
		if (!w->too_long)
			w->take(w->vm, w->line + from);
		w->too_long = false;
		from = (size_t)(end + 1 - w->line);
	}
	w->have -= from;
	memmove(w->line, w->line + from, w->have);
	if (w->have == sizeof(w->line)) {
		w->too_long = true;
		w->have = 0;
	}
	return true;
}

/* What is there now, a fifo's worth. */
static void hear_all(struct words *w)
{
	for (int i = 0; i < FIFO_SIZE / AT_ONCE && hear(w); i++)
		continue;
}

/* What has been counted, for the next daemon. */
static void keep_sums(struct vm *vm)
{
	_cleanup_close_ int fd =
		openat(vm->run_fd, ENGINE_SUMS, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd >= 0)
		io_pwrite_full(fd, &vm->words.disks, sizeof(vm->words.disks), 0);
}

static int on_words(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct words *w = user;

	(void)fd;
	/* Its end: nobody has the other side open. */
	if (!hear(w) && !(revents & EPOLLIN))
		sd_event_source_set_enabled(s, SD_EVENT_OFF);
	if (w == w->vm->words.metrics)
		keep_sums(w->vm);
	return 0;
}

static struct words *words_open(struct vm *vm, const char *name, void (*take)(struct vm *vm, char *line))
{
	struct words *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->vm = vm;
	w->fd = -EBADF;
	w->take = take;
	if (engine_open_fifo(vm->run_fd, name, &w->fd) < 0 ||
		sd_event_add_io(vm->vms->event, &w->source, w->fd, EPOLLIN, on_words, w) < 0) {
		words_free(w);
		return NULL;
	}
	/* Whatever else there is to do comes first. */
	sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_IDLE);
	return w;
}

void words_begin(struct vm *vm)
{
	_cleanup_close_ int fd = -EBADF;
	struct disk_counters sums;

	vm->words.told = 0;
	vm->words.disks = (struct disk_counters){0};
	if (!vm->engine || !vm->engine->count)
		return;
	/* Where an earlier daemon was. */
	fd = openat(vm->run_fd, ENGINE_SUMS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && io_read_full(fd, &sums, sizeof(sums)) == 0)
		vm->words.disks = sums;
	vm->words.log = words_open(vm, ENGINE_LOG, take_log);
	vm->words.metrics = words_open(vm, ENGINE_METRICS, take_metrics);
}

void words_end(struct vm *vm)
{
	/* Its last ones. */
	if (vm->words.log)
		hear_all(vm->words.log);
	words_free(vm->words.log);
	words_free(vm->words.metrics);
	vm->words.log = vm->words.metrics = NULL;
}

void words_print(struct vm *vm, FILE *out)
{
	if (!vm->words.metrics)
		return;
	hear_all(vm->words.metrics);
	keep_sums(vm);
	counters_print(&vm->words.disks, out);
}
