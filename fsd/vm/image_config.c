#include "vm/exec.h"
#include "vm/image_config.h"

struct image_config *objects_config(const struct store_object *row)
{
	struct image_config *config = NULL;

	if (!row->config || !*row->config ||
		image_config_parse(row->config, strlen(row->config), &config, NULL) < 0)
		return NULL;
	return config;
}

void objects_config_show(const struct store_object *row, enum image_config_field field, FILE *out)
{
	_cleanup_(image_config_freep) struct image_config *config = objects_config(row);

	if (!config)
		return;
	switch (field) {
	case IMAGE_ENV:
		exec_show_list((const char *const *)config->env, out);
		break;
	case IMAGE_ENTRYPOINT:
		exec_show_list((const char *const *)config->entrypoint, out);
		break;
	case IMAGE_CMD:
		exec_show_list((const char *const *)config->cmd, out);
		break;
	case IMAGE_PORTS:
		exec_show_list((const char *const *)config->ports, out);
		break;
	case IMAGE_LABELS:
		exec_show_list((const char *const *)config->labels, out);
		break;
	case IMAGE_WORKDIR:
		fprintf(out, "%s\n", config->workdir);
		break;
	case IMAGE_USER:
		fprintf(out, "%s\n", config->user);
		break;
	case IMAGE_STOP_SIGNAL:
		fprintf(out, "%s\n", config->stop_signal);
		break;
	}
}
