/*
 * Images out of files and folders: a root file system's tar or folder; an OCI layout, as a folder or in an archive; what `docker save` wrote.
 *
 * Archives are taken apart by the confined child alone. Of a layout's folder this process opens what a checked digest names, no link followed, and
 * parses documents; the layers are the child's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "image/members.h"
#include "image/worker.h"
#include "registry/layout.h"
#include "vm/objects_make.h"

#define LINKS_MAX 8 /* in an archive, from member to member */

/* Where an image's files are: a folder, or an archive's members, in it or in the spool. */
struct files {
	int dir;
	int archive, spool;
	struct members *members; /* NULL: a folder's */
};

static void files_clear(struct files *f)
{
	close_fd(f->dir);
	close_fd(f->archive);
	close_fd(f->spool);
	members_free(f->members);
}

int make_open_source(const char *path, bool *ret_dir, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (path[0] != '/')
		return err_set(e, -EINVAL, "%s: an absolute path is wanted", path);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		return err_set(e, -EACCES,
			"%s: permission denied: the user that banger runs as may not read it: let that one, "
			"or put it where it may",
			path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(e, -EINVAL, "%s: neither a file nor a folder", path);
	*ret_dir = S_ISDIR(st.st_mode);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* NAME below DIR, by no link. -ENOENT; -EBADMSG: it isn't a plain file. */
static int open_below(int dir, const char *name, int *ret_fd, uint64_t *ret_size, struct err *e)
{
	_cleanup_free_ char *copy = strdup(name);
	_cleanup_close_ int at = -EBADF;
	char *rest = copy, *part;
	struct stat st;
	int fd;

	if (!copy)
		return err_sys(e, -ENOMEM, "%s", name);
	while ((part = strsep(&rest, "/"))) {
		fd = openat(at < 0 ? dir : at, part,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (rest ? O_DIRECTORY : 0));
		if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
			return err_set(e, -EBADMSG,
				"%s: it, or what it is in, is a symbolic link: those are not followed out of "
				"a layout",
				name);
		if (fd < 0)
			return err_sys(e, -errno, "%s", name);
		close_fd(at);
		at = fd;
	}
	if (fstat(at, &st) < 0)
		return err_sys(e, -errno, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "%s: not a plain file", name);
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = TAKE_FD(at);
	return 0;
}

/* The file that NAME means. -ENOENT. */
static int find_member(const struct files *f, const char *name, const struct member **ret, struct err *e)
{
	const struct member *m = members_find(f->members, name);

	for (unsigned links = 0; m && *m->link; links++) {
		const char *to = m->link;

		if (links == LINKS_MAX)
			return err_set(e, -EBADMSG, "%s: a link that leads nowhere", name);
		m = members_find(f->members, to);
		if (!m)
			return err_set(e, -EBADMSG, "%s: a link to what isn't in the archive", name);
	}
	if (!m)
		return err_set(e, -ENOENT, "%s isn't in the archive", name);
	*ret = m;
	return 0;
}

/* *RET_FD: N bytes from its position on. */
static int open_file(const struct files *f, const char *name, int *ret_fd, uint64_t *ret_size, struct err *e)
{
	const struct member *m;
	_cleanup_close_ int fd = -EBADF;
	char path[32];
	int r;

	if (!f->members)
		return open_below(f->dir, name, ret_fd, ret_size, e);
	r = find_member(f, name, &m, e);
	if (r < 0)
		return r;
	/* A position of its own. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", m->in_place ? f->archive : f->spool);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || lseek(fd, (off_t)m->offset, SEEK_SET) < 0)
		return err_sys(e, -errno, "%s", name);
	*ret_size = m->size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int read_whole(void *user, const char *name, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *text = NULL;
	uint64_t size;
	int r = open_file(user, name, &fd, &size, e);

	if (r < 0)
		return r;
	if (size > max)
		return err_set(
			e, -EFBIG, "%s has %llu bytes: the most is %zu", name, (unsigned long long)size, max);
	text = malloc(size + 1);
	if (!text)
		return err_sys(e, -ENOMEM, "%s", name);
	r = io_read_full(fd, text, size);
	if (r < 0)
		return err_sys(e, r, "%s", name);
	text[size] = '\0';
	*ret_n = size;
	*ret = TAKE_PTR(text);
	return 0;
}

static int look(void *user, const char *name, struct layout_file *ret, struct err *e)
{
	static const struct {
		const char *packing;
		size_t n;
		unsigned char magic[4];
	} kinds[] = {{"+gzip", 2, {0x1f, 0x8b}}, {"+zstd", 4, {0x28, 0xb5, 0x2f, 0xfd}}};
	const struct files *f = user;
	unsigned char head[4] = {0};
	const struct member *m;
	int r;

	/* A folder is only taken for a layout, which names no files. */
	if (!f->members)
		return err_set(e, -ENOENT, "%s isn't there", name);
	r = find_member(f, name, &m, e);
	if (r < 0)
		return r;
	if (m->size >= sizeof(head) &&
		pread(m->in_place ? f->archive : f->spool, head, sizeof(head), (off_t)m->offset) < 0)
		return err_sys(e, -errno, "%s", name);
	ret->size = m->size;
	ret->packing = "";
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (memcmp(head, kinds[i].magic, kinds[i].n) == 0)
			ret->packing = kinds[i].packing;
	snprintf(ret->digest, sizeof(ret->digest), "%s", m->digest);
	return 0;
}

struct layers_of {
	const struct files *files;
	const struct layout *layout;
};

static int open_layer(void *user, size_t i, struct image_layer *layer, struct err *e)
{
	const struct layers_of *of = user;
	const char *name = layout_layer(of->layout, i);
	const struct member *m;
	uint64_t size;
	int r = open_file(of->files, name, &layer->fd, &size, e);

	if (r < 0) {
		if (r == -ENOENT)
			return err_set(e, -EBADMSG,
				"layer %zu, %.200s, is missing: the image isn't whole, copy or save it again",
				i + 1, name);
		err_wrap(e, "layer %zu", i + 1);
		return r;
	}
	layer->window = of->files->members != NULL;
	if (size != layer->size)
		return err_set(e, -EBADMSG, "layer %zu (%s) has %llu bytes, but %llu were promised", i + 1,
			layer->digest, (unsigned long long)size, (unsigned long long)layer->size);
	/* Said better here than by who fails to read it; who reads it verifies it too. */
	if (layer->window && find_member(of->files, name, &m, NULL) == 0 &&
		strncmp(layer->digest, m->digest, strlen("sha256:")) == 0 &&
		strcmp(layer->digest, m->digest) != 0)
		return err_set(e, -EBADMSG, "layer %zu (%s) is damaged: its digest is %s", i + 1,
			layer->digest, m->digest);
	return 0;
}

static int make_of_files(const struct make *m, const struct files *files, int out, struct op *op,
	struct store_object *row, struct err *e)
{
	_cleanup_(layout_freep) struct layout *l = NULL;
	const struct layout_files access = {.read = read_whole, .look = look, .user = (void *)files};
	struct layers_of of = {.files = files};
	struct make_layers from = {.open = open_layer, .user = &of};
	int r = layout_open(&access, m->tag, m->platform ? m->platform : "", &l, e);

	if (r < 0)
		return r;
	of.layout = l;
	from.digest = layout_digest(l);
	from.ref_digest = layout_ref_digest(l);
	from.config_text = layout_config_text(l);
	from.manifest = layout_manifest(l);
	from.config = layout_config(l);
	return make_of_layers(&from, out, op, row, e);
}

/* A file without a name beside the image's. */
static int open_spool(int dir_fd, const char *file, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	int fd;

	if (asprintf(&name, ".tmp-%s-members", file) < 0) {
		name = NULL;
		return err_sys(e, -ENOMEM, "image");
	}
	fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "image");
	unlinkat(dir_fd, name, 0);
	*ret_fd = fd;
	return 0;
}

/* *RET->members stays NULL where the file is no image's archive. */
static int unpack(const char *path, int fd, int dir_fd, const char *file, struct op *op, struct files *ret,
	struct err *e)
{
	struct worker_request request = {.task = WORKER_MEMBERS, .input = fd};
	struct image_result result = {0};
	int r = open_spool(dir_fd, file, &ret->spool, e);

	if (r < 0)
		return r;
	request.output = ret->spool;
	r = worker_run(&request, op, &result, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", path);
	return r == 0 && result.entries > 0 ? members_load(fd, ret->spool, &result, &ret->members, e) : r;
}

/* A layout's two files are what no root file system has. */
static bool is_layout(int dir)
{
	static const char *const names[] = {"oci-layout", "index.json"};

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		struct stat st;

		if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			return false;
	}
	return true;
}

int make_rootfs(const struct make *m, int fd, bool is_dir, int out, struct op *op, struct store_object *row,
	struct err *e)
{
	struct worker_request request = {
		.task = is_dir ? WORKER_DIR : WORKER_TAR, .input = fd, .output = out, .seed = row->name};
	struct image_result result = {0};
	int r;

	if (m->tag)
		return err_set(e, -EINVAL, "%s: a root file system's: there is no `tag` in it", row->ref);
	if (!is_dir && lseek(fd, 0, SEEK_SET) < 0)
		r = err_sys(e, -errno, "%s", row->ref);
	else
		r = worker_run(&request, op, &result, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", row->ref);
	if (r == -EACCES && is_dir)
		err_join(e, "tar -C %s -c . | banger image import - %s", m->source, row->name);
	return r == 0 ? make_describe(&result, row, e) : r;
}

int make_imported(
	const struct make *m, int dir_fd, int out, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_(files_clear) struct files files = {.dir = -EBADF, .archive = -EBADF, .spool = -EBADF};
	_cleanup_close_ int fd = -EBADF;
	bool is_dir = false;
	int r = make_open_source(m->source, &is_dir, &fd, e);

	if (r == 0 && !is_dir)
		r = unpack(row->ref, fd, dir_fd, row->file, op, &files, e);
	if (r == 0 && is_dir && is_layout(fd))
		files.dir = TAKE_FD(fd);
	else if (r == 0 && is_dir && bundle_is(fd))
		return make_bundle(m, fd, out, op, row, e);
	if (r < 0)
		return r;
	if (!files.members && files.dir < 0) {
		files.spool = close_fd(files.spool);
		return make_rootfs(m, fd, is_dir, out, op, row, e);
	}
	if (files.members)
		files.archive = TAKE_FD(fd);
	r = make_of_files(m, &files, out, op, row, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", row->ref);
	return r;
}
