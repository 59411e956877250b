#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "banger/wait.h"
#include "registry/auth.h"
#include "registry/registry_state.h"

struct blobs *registry_blobs(struct registry *r)
{
	return r->blobs;
}

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int copy(const char *from, const char **to)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int copy_places(const struct credentials_places *from, struct credentials_places *to, struct err *e)
{
	to->state_fd = from->state_fd;
	if (copy(from->home, &to->home) < 0 || copy(from->runtime_dir, &to->runtime_dir) < 0 ||
		copy(from->config_home, &to->config_home) < 0 ||
		copy(from->docker_config, &to->docker_config) < 0 ||
		copy(from->auth_file, &to->auth_file) < 0)
		return err_sys(e, -ENOMEM, "registry");
	return 0;
}

int registry_new(const struct registry_config *config, struct registry **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct registry *r = calloc(1, sizeof(*r));
	int code;

	if (!r)
		return err_sys(e, -ENOMEM, "registry");
	pthread_once(&once, init_curl);
	pthread_mutex_init(&r->lock, NULL);
	wait_init(&r->renewed);
	LIST_INIT(&r->grants);
	LIST_INIT(&r->plains);
	LIST_INIT(&r->renewals);
	r->blobs = config->blobs;
	r->limits = config->limits;
	code = copy_places(&config->places, &r->places, e);
	if (code < 0) {
		registry_free(r);
		return code;
	}
	*ret = r;
	return 0;
}

struct registry *registry_free(struct registry *r)
{
	if (!r)
		return NULL;
	registry_forget(r);
	while (!LIST_EMPTY(&r->plains)) {
		struct plain *one = LIST_FIRST(&r->plains);

		LIST_REMOVE(one, link);
		free(one->base);
		free(one);
	}
	free((char *)r->places.home);
	free((char *)r->places.runtime_dir);
	free((char *)r->places.config_home);
	free((char *)r->places.docker_config);
	free((char *)r->places.auth_file);
	pthread_cond_destroy(&r->renewed);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}
