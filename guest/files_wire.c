#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "files_wire.h"
#include "handle.h"

/* An files_answer's payload; shared by all requests, of which one is at work at a time. */
uint8_t files_answer[AGENT_PAYLOAD_MAX];

void input_bytes(struct input *in, void *to, size_t n)
{
	if (in->left < n) {
		in->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

uint32_t input_u32(struct input *in)
{
	uint32_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

uint64_t input_u64(struct input *in)
{
	uint64_t v;

	input_bytes(in, &v, sizeof(v));
	return v;
}

void input_text(struct input *in, char *to, size_t size)
{
	uint16_t n;

	input_bytes(in, &n, sizeof(n));
	to[0] = '\0';
	if (n == 0 || n >= size || n > in->left || memchr(in->at, '\0', n)) {
		in->bad = true;
		return;
	}
	input_bytes(in, to, n);
	to[n] = '\0';
}

void input_name(struct input *in, char to[NAME_SIZE])
{
	input_text(in, to, NAME_SIZE);
	if (strchr(to, '/') || strcmp(to, ".") == 0 || strcmp(to, "..") == 0)
		in->bad = true;
}

int input_file(struct input *in, struct file_id *ret, int *ret_fd)
{
	input_bytes(in, ret, sizeof(*ret));
	return in->bad ? -EINVAL : handle_open(*ret, ret_fd);
}

void files_proc_path(int fd, char ret[32])
{
	snprintf(ret, 32, "/proc/self/fd/%d", fd);
}

int files_answer_attr(struct file_id id, int fd, size_t *ret_n)
{
	struct agent_attr attr;
	int r = handle_attr(id, fd, &attr);

	if (r == 0) {
		memcpy(files_answer, &attr, sizeof(attr));
		*ret_n = sizeof(attr);
	}
	return r;
}

int files_answer_attr_at(struct file_id dir, int dir_fd, const char *name, size_t *ret_n)
{
	struct agent_attr attr;
	int r = handle_attr_at(dir, dir_fd, name, &attr);

	if (r == 0) {
		memcpy(files_answer, &attr, sizeof(attr));
		*ret_n = sizeof(attr);
	}
	return r;
}

void files_answer_folder(struct file_id dir, int dir_fd, size_t *ret_n)
{
	struct agent_attr attr[2];

	if (*ret_n != sizeof(attr[0]) || handle_attr(dir, dir_fd, &attr[1]) < 0)
		return;
	memcpy(&attr[0], files_answer, sizeof(attr[0]));
	attr[0].flags |= AGENT_ATTR_FOLDER;
	memcpy(files_answer, attr, sizeof(attr));
	*ret_n = sizeof(attr);
}
