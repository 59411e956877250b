#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"
#include "engine/engine.h"
#include "engine/fc_api.h"
#include "engine/firecracker.h"

/* One call with a body of one pair. */
static int say(int vm_dir_fd, const char *method, const char *path, const char *key, const char *value,
	struct op *op, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	json_object *o, *text;
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	if (r < 0)
		return r;
	o = json_object_new_object();
	text = json_object_new_string(value);
	if (!o || !text || json_object_object_add(o, key, text) < 0) {
		json_object_put(text);
		r = err_sys(e, -ENOMEM, "Firecracker");
	} else {
		r = fc_api_call(a, method, path, o, FC_MSEC, NULL, e);
	}
	json_object_put(o);
	return r;
}

/*
 * After a pause and no more than that, 1.16 holds back for ever what goes to the guest over vsock (its #6100): the agent would be lost.
 */
static int check_pause(int vm_dir_fd, struct op *op, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	_cleanup_free_ char *note = NULL;
	struct fc_version v;
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	if (r == 0)
		r = fc_version_get(a, &v, &note, e);
	if (r == 0 && fc_version_is(&v, 1, 16) && !fc_version_is(&v, 1, 17))
		return err_set(e, -EOPNOTSUPP,
			"Firecracker %u.%u.%u cannot be paused without losing the guest's agent: install "
			"another release",
			v.major, v.minor, v.patch);
	return r;
}

static int firecracker_pause(int vm_dir_fd, struct op *op, struct err *e)
{
	int r = check_pause(vm_dir_fd, op, e);

	if (r < 0)
		return r;
	return say(vm_dir_fd, "PATCH", "/vm", "state", "Paused", op, e);
}

static int firecracker_resume(int vm_dir_fd, struct op *op, struct err *e)
{
	return say(vm_dir_fd, "PATCH", "/vm", "state", "Resumed", op, e);
}

/* There is no power button: the three keys make the guest restart itself, which for Firecracker is its end. */
static int firecracker_powerdown(int vm_dir_fd, struct op *op, struct err *e)
{
	return say(vm_dir_fd, "PUT", "/actions", "action_type", "SendCtrlAltDel", op, e);
}

static int firecracker_status(int vm_dir_fd, enum engine_status *ret, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	json_object *o = NULL, *state;
	const char *text = "";
	int r = fc_api_new(vm_dir_fd, NULL, &a, e);

	if (r == 0)
		r = fc_api_call(a, "GET", "/", NULL, FC_MSEC, &o, e);
	if (r < 0)
		return r;
	if (o && json_object_object_get_ex(o, "state", &state) &&
		json_object_is_type(state, json_type_string))
		text = json_object_get_string(state);
	*ret = !strcmp(text, "Running")  ? ENGINE_RUNNING
	       : !strcmp(text, "Paused") ? ENGINE_PAUSED
					 : ENGINE_OTHER;
	json_object_put(o);
	return 0;
}

const struct engine engine_firecracker = {
	"firecracker", firecracker_pause, firecracker_resume, firecracker_powerdown, firecracker_status};
