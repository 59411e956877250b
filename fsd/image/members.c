#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "image/members.h"
#include "image/source.h"
#include "image/tar.h"

#define COPY_BYTES (256u * 1024)
#define HEX_DIGITS 64

struct members {
	size_t n;
	struct member list[];
};

/* What members_unpack() is at. */
struct unpack {
	struct archive *archive;
	struct tar_input in;
	int spool;
	uint64_t at;
	struct member *list;
	size_t n;
	bool sure;     /* it has what no root file system has */
	bool in_place; /* the archive isn't packed: what is in it can stay there */
	EVP_MD_CTX *hash;
	uint8_t buf[COPY_BYTES];
};

static bool is_hex(const char *s, size_t n)
{
	return n == HEX_DIGITS && strspn(s, "0123456789abcdef") >= n;
}

enum place {
	PLACE_FOREIGN, /* no image's archive has that */
	PLACE_FOLDER,
	PLACE_TOP,  /* a file that either may have */
	PLACE_SURE, /* a file that only an image's archive has */
};

/* What may be at NAME: blobs/ALGORITHM/HEX; HEX/layer.tar and its like, by docker before its version 25; any file at the top. */
static enum place place_of(const char *name, bool folder)
{
	static const char *const folders[] = {"", "blobs", "blobs/sha256", "blobs/sha512"};
	static const char *const legacy[] = {"layer.tar", "json", "VERSION"};
	const char *slash = strchr(name, '/');

	for (size_t i = 0; folder && i < ELEMENTSOF(folders); i++)
		if (strcmp(name, folders[i]) == 0)
			return PLACE_FOLDER;
	if (folder)
		return !slash && is_hex(name, strlen(name)) ? PLACE_FOLDER : PLACE_FOREIGN;
	if (!slash)
		return strcmp(name, "oci-layout") == 0 ? PLACE_SURE : PLACE_TOP;
	if (strncmp(name, "blobs/sha256/", 13) == 0 || strncmp(name, "blobs/sha512/", 13) == 0)
		return strchr(name + 13, '/') ? PLACE_FOREIGN : PLACE_SURE;
	for (size_t i = 0; is_hex(name, (size_t)(slash - name)) && i < ELEMENTSOF(legacy); i++)
		if (strcmp(slash + 1, legacy[i]) == 0)
			return PLACE_SURE;
	return PLACE_FOREIGN;
}

/* A name as it is kept: "./a//" is "a". -ENAMETOOLONG. */
static int clean(const char *path, char ret[MEMBER_NAME_MAX + 1])
{
	size_t n;

	while (strncmp(path, "./", 2) == 0)
		path += 2 + strspn(path + 2, "/");
	n = strlen(path);
	while (n > 0 && path[n - 1] == '/')
		n--;
	if (n == 1 && *path == '.')
		n = 0;
	if (n > MEMBER_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(ret, path, n);
	ret[n] = '\0';
	return 0;
}

/* Docker links one layer.tar to another: "../HEX/layer.tar" in HEX/. What leads elsewhere leads to nothing that there is. */
static void take_symlink(const char *target, struct member *m)
{
	bool below = strchr(m->name, '/') != NULL;
	const char *from = target ? target : "";

	if (below && strncmp(from, "../", 3) == 0)
		from += 3;
	if (!*from || clean(from, m->link) < 0)
		memcpy(m->link, "/", 2);
}

static int copy(struct unpack *u, struct member *m, struct err *e)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	ssize_t n;
	int r;

	m->offset = u->at;
	m->in_place = u->in_place;
	if (u->in_place)
		m->offset = (uint64_t)archive_filter_bytes(u->archive, 0);
	EVP_DigestInit_ex(u->hash, EVP_sha256(), NULL);
	while ((n = archive_read_data(u->archive, u->buf, sizeof(u->buf))) > 0) {
		EVP_DigestUpdate(u->hash, u->buf, (size_t)n);
		r = u->in_place ? 0 : io_write_full(u->spool, u->buf, (size_t)n);
		if (r < 0)
			return err_sys(e, r, "copying it out of the archive");
		m->size += (uint64_t)n;
	}
	if (n < 0)
		return tar_failure(u->archive, &u->in, e);
	if (!u->in_place)
		u->at += m->size;
	EVP_DigestFinal_ex(u->hash, sum, NULL);
	source_digest(sum, m->digest);
	return 0;
}

static int take_file(struct unpack *u, struct archive_entry *entry, const char *name, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry);
	struct member *more, *m;
	int r = 0;

	if (u->n == MEMBERS_MAX)
		return !u->sure ? 1 : err_set(e, -EFBIG, "an archive of more than %u members", MEMBERS_MAX);
	more = reallocarray(u->list, u->n + 1, sizeof(*more));
	if (!more)
		return err_sys(e, -ENOMEM, "archive");
	u->list = more;
	m = &more[u->n];
	memset(m, 0, sizeof(*m));
	memcpy(m->name, name, strlen(name) + 1);
	if (hard) {
		if (!*hard || clean(hard, m->link) < 0 || !*m->link)
			memcpy(m->link, "/", 2);
	} else if (archive_entry_filetype(entry) == AE_IFLNK) {
		take_symlink(archive_entry_symlink(entry), m);
	} else if (archive_entry_sparse_count(entry) > 0) {
		/* Zeros without end cost nothing in there, and everything here. */
		r = err_set(e, -EBADMSG, "a sparse file: make the archive without tar's -S");
	} else {
		r = copy(u, m, e);
	}
	if (r == 0)
		u->n++;
	return r;
}

/* 1: it is no image's archive. */
static int take(struct unpack *u, struct archive_entry *entry, struct err *e)
{
	const char *path = archive_entry_pathname(entry);
	bool hard = archive_entry_hardlink(entry) != NULL;
	uint32_t type = archive_entry_filetype(entry);
	char name[MEMBER_NAME_MAX + 1];
	enum place place = PLACE_FOREIGN;
	int r;

	if (path && clean(path, name) == 0 &&
		(hard || type == AE_IFREG || type == AE_IFDIR || type == AE_IFLNK))
		place = place_of(name, !hard && type == AE_IFDIR);
	/* In a root file system links at the top are usual, in an image's archive they aren't. */
	if (place == PLACE_TOP && type == AE_IFLNK && !hard)
		place = PLACE_FOREIGN;
	if (place == PLACE_FOREIGN)
		return u->sure ? 0 : 1;
	if (place == PLACE_FOLDER)
		return 0;
	u->sure = u->sure || place == PLACE_SURE;
	r = take_file(u, entry, name, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", name);
	return r;
}

static bool has(const struct unpack *u, const char *name)
{
	for (size_t i = 0; i < u->n; i++)
		if (strcmp(u->list[i].name, name) == 0)
			return true;
	return false;
}

/* 1: it is no image's archive. */
static int take_all(struct unpack *u, struct err *e)
{
	struct archive_entry *entry;
	int k, r = 0;

	while (r == 0 &&
		((k = archive_read_next_header(u->archive, &entry)) == ARCHIVE_OK || k == ARCHIVE_WARN))
		r = take(u, entry, e);
	if (r != 0)
		return r;
	/* Of what may be a root file system the one who makes those has more to say. */
	if (k != ARCHIVE_EOF)
		return u->sure || u->in.err.code == -EINTR ? tar_failure(u->archive, &u->in, e) : 1;
	if (has(u, "index.json") || has(u, "manifest.json"))
		return tar_rest(&u->in, e);
	return u->sure ? err_set(e, -EBADMSG,
				 "it has an image's blobs, but neither index.json nor manifest.json, which "
				 "say what they are: make the archive again")
		       : 1;
}

static int write_table(struct unpack *u, struct image_result *ret, struct err *e)
{
	int r = io_write_full(u->spool, u->list, u->n * sizeof(*u->list));

	if (r < 0)
		return err_sys(e, r, "copying out of the archive");
	ret->content = u->at;
	ret->size = u->at;
	ret->entries = u->n;
	return 0;
}

/* As every tar since POSIX.1-1988 begins. */
static bool is_plain_tar(int fd)
{
	char magic[5];

	return pread(fd, magic, sizeof(magic), 257) == sizeof(magic) &&
	       memcmp(magic, "ustar", sizeof(magic)) == 0;
}

int members_unpack(int source_fd, int spool_fd, struct op *op, struct image_result *ret, struct err *e)
{
	_cleanup_(stream_freep) struct stream *stream = NULL;
	struct unpack *u = calloc(1, sizeof(*u));
	struct image_result result = {0};
	int r = 0;

	op_stage(op, IMAGE_STAGE_MEMBERS);
	if (!u || !(u->hash = EVP_MD_CTX_new()))
		r = err_sys(e, -ENOMEM, "archive");
	if (r == 0)
		r = stream_open(STREAM_WHOLE(source_fd), op, STREAM_HASH_NONE, &stream, e);
	if (r == 0) {
		u->spool = spool_fd;
		u->in.stream = stream;
		u->in_place = is_plain_tar(source_fd);
		if (tar_open(&u->in, false, &u->archive, NULL) == 0) {
			r = take_all(u, e);
			tar_close(&u->in, u->archive);
		} else {
			r = 1;
		}
	}
	if (r == 0)
		r = write_table(u, &result, e);
	if (r >= 0)
		*ret = result;
	if (u) {
		EVP_MD_CTX_free(u->hash);
		free(u->list);
	}
	free(u);
	return r < 0 ? r : 0;
}

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* ENDS_AT: of the spool before its table, and of the archive. */
static bool is_member(const struct member *m, const uint64_t ends_at[2])
{
	uint64_t end = ends_at[m->in_place == 1];

	return m->in_place <= 1 && ends(m->name, sizeof(m->name)) && ends(m->link, sizeof(m->link)) &&
	       ends(m->digest, sizeof(m->digest)) && m->offset <= end && m->size <= end - m->offset &&
	       (*m->link || (strncmp(m->digest, "sha256:", 7) == 0 &&
				    is_hex(m->digest + 7, strlen(m->digest + 7))));
}

int members_load(
	int source_fd, int spool_fd, const struct image_result *result, struct members **ret, struct err *e)
{
	_cleanup_(members_freep) struct members *m = NULL;
	uint64_t end = result->size, ends_at[2] = {end};
	struct stat st, source;
	size_t n;

	if (fstat(spool_fd, &st) < 0 || fstat(source_fd, &source) < 0)
		return err_sys(e, -errno, "archive");
	ends_at[1] = (uint64_t)source.st_size;
	n = result->entries <= MEMBERS_MAX ? (size_t)result->entries : 0;
	if (n == 0 || end > (uint64_t)st.st_size || (uint64_t)st.st_size - end != n * sizeof(m->list[0]))
		goto bad;
	m = malloc(sizeof(*m) + n * sizeof(m->list[0]));
	if (!m)
		return err_sys(e, -ENOMEM, "archive");
	m->n = n;
	for (size_t have = 0, all = n * sizeof(m->list[0]); have < all;) {
		ssize_t k = pread(spool_fd, (char *)m->list + have, all - have, (off_t)(end + have));

		if (k < 0)
			return err_sys(e, -errno, "archive");
		if (k == 0)
			goto bad;
		have += (size_t)k;
	}
	for (size_t i = 0; i < n; i++)
		if (!is_member(&m->list[i], ends_at))
			goto bad;
	*ret = TAKE_PTR(m);
	return 0;
bad:
	return err_set(e, -EBADMSG,
		"the worker that read the archive left what no worker leaves: the archive is hostile, or "
		"banger is broken");
}

struct members *members_free(struct members *m)
{
	free(m);
	return NULL;
}

const struct member *members_find(const struct members *m, const char *name)
{
	for (size_t i = m->n; i > 0; i--)
		if (strcmp(m->list[i - 1].name, name) == 0)
			return &m->list[i - 1];
	return NULL;
}
