#include "registry/hosts.h"

#include <fcntl.h>

#include "registry/host_name.h"

#define BLANKS       " \t\r\n"
#define DOCKER       "docker.io"
#define DOCKER_HOST  "registry-1.docker.io" /* docker.io itself answers no /v2/ */
#define PATH_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-/"

/* The next word of a setting, from *AT on, which goes past it; NULL at the end. Not NUL-terminated: *RET_N. */
static const char *next_word(const char **at, size_t *ret_n)
{
	const char *word = *at ? *at + strspn(*at, BLANKS) : "";

	*ret_n = strcspn(word, BLANKS);
	if (*ret_n == 0)
		return NULL;
	*at = word + *ret_n;
	return word;
}

static int check_host(const char *host, const char *setting, struct err *e)
{
	if (host_name_valid(host))
		return 0;
	return err_set(e, -EINVAL, "%s: '%s' isn't HOST or HOST:PORT", setting, host);
}

/* Whether HOST is in the setting INSECURE; with HOST NULL only looks at the syntax. */
static int find_insecure(const char *insecure, const char *host, bool *ret, struct err *e)
{
	const char *word;
	size_t n;
	bool found = false;

	while ((word = next_word(&insecure, &n))) {
		_cleanup_free_ char *entry = strndup(word, n);
		int r;

		if (!entry)
			return err_set(e, -ENOMEM, "out of memory");
		r = check_host(entry, "insecure registries", e);
		if (r < 0)
			return r;
		if (host && host_name_same(entry, n, host))
			found = true;
	}
	if (ret)
		*ret = found;
	return 0;
}

/* "docker.io=https://mirror.example:5000/path" */
struct mirror {
	char *of;   /* owned, and what the others point into */
	char *url;  /* without slashes at its end */
	char *host; /* owned: the URL's, with its port */
	bool http;
};

static void mirror_clear(struct mirror *m)
{
	free(m->of);
	free(m->host);
	*m = (struct mirror){0};
}

static int mirror_parse(struct mirror *m, const char *word, size_t n, struct err *e)
{
	const char *rest;
	size_t length;
	int r;

	m->of = strndup(word, n);
	if (!m->of)
		return err_set(e, -ENOMEM, "out of memory");
	m->url = strchr(m->of, '=');
	if (!m->url)
		return err_set(e, -EINVAL, "mirrors: '%s' isn't REGISTRY=https://MIRROR", m->of);
	*m->url++ = '\0';
	r = check_host(m->of, "mirrors", e);
	if (r < 0)
		return r;
	m->http = strncmp(m->url, "http://", strlen("http://")) == 0;
	if (!m->http && strncmp(m->url, "https://", strlen("https://")) != 0)
		return err_set(e, -EINVAL, "mirrors: '%s' doesn't begin with https:// or http://", m->url);
	for (length = strlen(m->url); length > 0 && m->url[length - 1] == '/'; length--)
		m->url[length - 1] = '\0';
	rest = m->url + strlen(m->http ? "http:" : "https:");
	rest += strspn(rest, "/") < 2 ? strspn(rest, "/") : 2;
	m->host = strndup(rest, strcspn(rest, "/"));
	if (!m->host)
		return err_set(e, -ENOMEM, "out of memory");
	rest += strlen(m->host);
	if (!host_name_valid(m->host) || rest[strspn(rest, PATH_LETTERS)] || strstr(rest, "/.") ||
		strstr(rest, "//"))
		return err_set(e, -EINVAL, "mirrors: '%s' isn't https://HOST[:PORT][/PATH]", m->url);
	return 0;
}

int hosts_check_insecure(const char *text, struct err *e)
{
	return find_insecure(text, NULL, NULL, e);
}

int hosts_check_mirrors(const char *text, struct err *e)
{
	const char *word;
	size_t n;

	while ((word = next_word(&text, &n))) {
		_cleanup_(mirror_clear) struct mirror m = {0};
		int r = mirror_parse(&m, word, n, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static void endpoint_clear(struct endpoint *p)
{
	free(p->base);
	free(p->ca_file);
	free(p->cert_file);
	free(p->key_file);
	*p = (struct endpoint){0};
}

void endpoints_free(struct endpoint *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		endpoint_clear(list + i);
	free(list);
}

static bool ends_with(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n > k && strcmp(name + n - k, suffix) == 0;
}

/* Keeps the lesser of *BEST and a copy of NAME. */
static int keep_first(char **best, const char *name)
{
	char *copy;

	if (*best && strcmp(*best, name) <= 0)
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(*best);
	*best = copy;
	return 0;
}

/* "client.key" for "client.cert". */
static int key_name(const char *cert, char **ret)
{
	if (asprintf(ret, "%.*s.key", (int)(strlen(cert) - strlen(".cert")), cert) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int put_path(char **ret, const char *folder, const char *name)
{
	if (asprintf(ret, "%s/%s", folder, name) < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* The files of FOLDER, open as DIR, that P goes by. */
static int read_certificates(DIR *dir, const char *folder, struct endpoint *p)
{
	_cleanup_free_ char *ca = NULL, *cert = NULL, *cert_key = NULL;
	struct dirent *entry;
	int r = 0;

	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		_cleanup_free_ char *key = NULL;

		if (entry->d_name[0] == '.')
			continue;
		if (ends_with(entry->d_name, ".crt"))
			r = keep_first(&ca, entry->d_name);
		if (!ends_with(entry->d_name, ".cert"))
			continue;
		r = key_name(entry->d_name, &key);
		if (r == 0 && faccessat(dirfd(dir), key, F_OK, 0) == 0)
			r = keep_first(&cert, entry->d_name);
	}
	if (r == 0 && !entry && errno)
		r = -errno;
	if (r == 0 && ca)
		r = put_path(&p->ca_file, folder, ca);
	if (r == 0 && cert)
		r = key_name(cert, &cert_key);
	if (r == 0 && cert)
		r = put_path(&p->cert_file, folder, cert);
	if (r == 0 && cert)
		r = put_path(&p->key_file, folder, cert_key);
	return r;
}

/* 1: ROOT has a folder for HOST, and P has what is in it. 0: it has none. */
static int certificates_in(const char *root, const char *host, struct endpoint *p, struct err *e)
{
	_cleanup_close_ int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ char *folder = NULL;
	int r;

	/* /etc/docker is root's alone on some hosts: nobody can tell then whether there is one. */
	if (root_fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES
			       ? 0
			       : err_sys(e, -errno, "certificates of %s: %s", host, root);
	r = put_path(&folder, root, host);
	if (r < 0)
		return err_set(e, r, "out of memory");
	fd = openat(root_fd, host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || (errno == EACCES && faccessat(root_fd, ".", X_OK, AT_EACCESS) < 0)))
		return 0;
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return err_sys(e, -errno, "certificates of %s: %s", host, folder);
	TAKE_FD(fd);
	r = read_certificates(dir, folder, p);
	return r < 0 ? err_sys(e, r, "certificates of %s: %s", host, folder) : 1;
}

static int find_certificates(const char *home, const char *host, struct endpoint *p, struct err *e)
{
	static const char *const roots[] = {"/etc/containers/certs.d", "/etc/docker/certs.d"};
	int r = 0;

	if (home) {
		_cleanup_free_ char *root = NULL;

		if (put_path(&root, home, ".config/containers/certs.d") < 0)
			return err_set(e, -ENOMEM, "out of memory");
		r = certificates_in(root, host, p, e);
	}
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(roots); i++)
		r = certificates_in(roots[i], host, p, e);
	return r < 0 ? r : 0;
}

/* Appends the endpoint BASE, whose certificates are HOST's. P's flags are set; its texts are made here. */
static int add(struct endpoint **list, size_t *n, struct endpoint p, const char *scheme, const char *rest,
	const char *host, const char *home, struct err *e)
{
	struct endpoint *bigger = reallocarray(*list, *n + 1, sizeof(**list));
	int r;

	if (!bigger)
		return err_set(e, -ENOMEM, "out of memory");
	*list = bigger;
	if (asprintf(&p.base, "%s%s", scheme, rest) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	r = find_certificates(home, host, &p, e);
	if (r < 0) {
		endpoint_clear(&p);
		return r;
	}
	(*list)[(*n)++] = p;
	return 0;
}

static int add_mirrors(
	const struct hosts_config *config, const char *host, struct endpoint **list, size_t *n, struct err *e)
{
	const char *at = config->mirrors, *word;
	size_t length;

	while ((word = next_word(&at, &length))) {
		_cleanup_(mirror_clear) struct mirror m = {0};
		struct endpoint p = {.mirror = true};
		int r = mirror_parse(&m, word, length, e);

		if (r == 0)
			r = find_insecure(config->insecure, m.host, &p.try_http, e);
		if (r < 0)
			return r;
		if (!host_name_same(m.of, strlen(m.of), host))
			continue;
		/* Who writes http:// has said it: nothing else is tried. */
		p.insecure = p.try_http || m.http;
		p.try_http = p.try_http && !m.http;
		r = add(list, n, p, "", m.url, m.host, config->home, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int hosts_endpoints(const struct hosts_config *config, const char *host, struct endpoint **ret, size_t *ret_n,
	struct err *e)
{
	struct endpoint *list = NULL, own = {0};
	size_t n = 0;
	int r;

	if (!host_name_valid(host))
		return err_set(e, -EINVAL, "'%s' isn't HOST or HOST:PORT", host);
	host = host_name_canonical(host);
	r = find_insecure(config->insecure, host, &own.insecure, e);
	if (r == 0)
		r = add_mirrors(config, host, &list, &n, e);
	own.try_http = own.insecure || host_is_loopback(host);
	if (r == 0)
		r = add(&list, &n, own, "https://", strcmp(host, DOCKER) == 0 ? DOCKER_HOST : host, host,
			config->home, e);
	if (r < 0) {
		endpoints_free(list, n);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
