#include "registry/secret.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include "banger/io.h"

enum { DEPTH_MAX = 16 };

char *secret_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
	return NULL;
}

int secret_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	/* A FIFO must not hold the worker. */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char *text;
	struct stat st;
	size_t n;
	int r;

	if (fd < 0)
		return err_sys(e, errno == ENOTDIR ? -ENOENT : -errno, "%s", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "%s: not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return err_set(e, -EFBIG, "%s: longer than %zu bytes", path, max);
	n = (size_t)st.st_size;
	text = calloc(1, n + 1);
	if (!text)
		return err_sys(e, -ENOMEM, "%s", path);
	r = io_read_full(fd, text, n);
	if (r < 0) {
		explicit_bzero(text, n);
		free(text);
		return r == -ENODATA ? err_set(e, -EBADMSG, "%s: it was cut while it was read", path)
				     : err_sys(e, r, "%s", path);
	}
	*ret = text;
	*ret_n = n;
	return 0;
}

int secret_json_parse(const char *text, size_t n, json_object **ret, struct err *e)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	json_object *o;
	int r = 0;

	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	while (n > 0 && strchr(" \t\r\n", text[n - 1]) && text[n - 1])
		n--;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = n > INT32_MAX ? NULL : json_tokener_parse_ex(t, text, (int)n);
	if (json_tokener_get_error(t) != json_tokener_success)
		r = err_set(e, -EBADMSG, "no JSON: %s at byte %zu",
			json_tokener_error_desc(json_tokener_get_error(t)), json_tokener_get_parse_end(t));
	else if (json_tokener_get_parse_end(t) != n)
		r = err_set(
			e, -EBADMSG, "no JSON: something follows at byte %zu", json_tokener_get_parse_end(t));
	else if (!json_object_is_type(o, json_type_object))
		r = err_set(e, -EBADMSG, "no JSON object");
	json_tokener_free(t);
	if (r < 0)
		secret_json_free(o);
	else
		*ret = o;
	return r;
}

static void wipe(json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_string:
		/* It is json-c's own buffer, and O goes next. */
		explicit_bzero((char *)json_object_get_string(o), (size_t)json_object_get_string_len(o));
		break;
	case json_type_object: {
		json_object_object_foreach(o, key, value)
		{
			(void)key;
			wipe(value);
		}
		break;
	}
	case json_type_array:
		for (size_t i = 0; i < json_object_array_length(o); i++)
			wipe(json_object_array_get_idx(o, i));
		break;
	default:
		break;
	}
}

json_object *secret_json_free(json_object *o)
{
	wipe(o);
	json_object_put(o);
	return NULL;
}

const char *secret_json_string(json_object *o, const char *key, size_t *ret_n)
{
	json_object *value;

	if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &value) ||
		!json_object_is_type(value, json_type_string))
		return NULL;
	if (ret_n)
		*ret_n = (size_t)json_object_get_string_len(value);
	return json_object_get_string(value);
}

int secret_base64_decode(const char *text, size_t n, char **ret, size_t *ret_n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t digits = strspn(text, alphabet);
	size_t padding = n - (digits < n ? digits : n);
	char *data;
	int k;

	/* EVP_DecodeBlock() passes over blanks, and counts what the padding stands for. */
	if (digits > n || n % 4 != 0 || n > INT32_MAX || padding > 2 || strspn(text + digits, "=") != padding)
		return -EBADMSG;
	data = calloc(1, n / 4 * 3 + 1);
	if (!data)
		return -ENOMEM;
	k = n == 0 ? 0 : EVP_DecodeBlock((unsigned char *)data, (const unsigned char *)text, (int)n);
	if (k < (int)padding) {
		explicit_bzero(data, n / 4 * 3);
		free(data);
		return -EBADMSG;
	}
	*ret_n = (size_t)k - padding;
	data[*ret_n] = '\0';
	*ret = data;
	return 0;
}

int secret_base64_encode(const char *data, size_t n, char **ret)
{
	char *text;

	if (n > INT32_MAX / 2)
		return -EFBIG;
	text = calloc(1, (n + 2) / 3 * 4 + 1);
	if (!text)
		return -ENOMEM;
	EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)data, (int)n);
	*ret = text;
	return 0;
}
