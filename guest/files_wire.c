#include <stdio.h>
#include <string.h>

#include "files_wire.h"
#include "handle.h"

/* An files_answer's payload; shared by all requests, of which one is at work at a time. */
uint8_t files_answer[AGENT_PAYLOAD_MAX];

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
