#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "banger/cleanup.h"
#include "banger/place.h"
#include "doctor.h"
#include "show.h"
#include "tree.h"

#define SPACE_MIN (2ull << 30) /* a kernel, an image, and VMs that write a little */

enum grade {
	GRADE_PASS,
	GRADE_WARN,
	GRADE_FAIL,
};

/* What a row found: the words, and what mends it. */
struct finding {
	enum grade grade;
	char text[200];
	const char *mend;
};

static void find_device(struct finding *f, const char *path, const char *mend)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISCHR(st.st_mode)) {
		snprintf(f->text, sizeof(f->text), "%s is there", path);
		return;
	}
	f->grade = GRADE_FAIL;
	f->mend = mend;
	snprintf(f->text, sizeof(f->text), "%s is not there", path);
}

static void check_fuse(struct ctl *c, struct finding *f)
{
	(void)c;
	find_device(f, "/dev/fuse", "modprobe fuse");
}

static void check_tun(struct ctl *c, struct finding *f)
{
	(void)c;
	find_device(f, "/dev/net/tun", "modprobe tun");
}

static void find_program(struct finding *f, const char *const *paths, const char *mend, enum grade grade)
{
	for (size_t i = 0; paths[i]; i++)
		if (access(paths[i], X_OK) == 0) {
			snprintf(f->text, sizeof(f->text), "%s", paths[i]);
			return;
		}
	f->grade = grade;
	f->mend = mend;
	snprintf(f->text, sizeof(f->text), "%s is not installed", paths[0]);
}

static void check_qemu(struct ctl *c, struct finding *f)
{
	(void)c;
	find_program(f, (const char *const[]){"/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", NULL},
		"apt install qemu-system-x86", GRADE_FAIL);
}

static void check_busybox(struct ctl *c, struct finding *f)
{
	(void)c;
	find_program(f, (const char *const[]){"/bin/busybox", "/usr/bin/busybox", NULL},
		"apt install busybox-static", GRADE_FAIL);
}

static void check_apt(struct ctl *c, struct finding *f)
{
	(void)c;
	find_program(
		f, (const char *const[]){"/usr/bin/apt-get", NULL}, "banger kernel import PATH", GRADE_WARN);
}

/* The nearest folder that is there. */
static void check_space(struct ctl *c, struct finding *f)
{
	_cleanup_free_ char *path = NULL;
	struct statvfs st;
	char *slash, buf[16];

	if (place_path(c->instance, PLACE_STATE, &path, NULL) < 0)
		return;
	while (statvfs(path, &st) < 0 && (slash = strrchr(path, '/')) && slash != path)
		*slash = '\0';
	snprintf(f->text, sizeof(f->text), "%s free at %.120s",
		show_size((uint64_t)st.f_bavail * st.f_frsize, buf), path);
	if ((uint64_t)st.f_bavail * st.f_frsize < SPACE_MIN) {
		f->grade = GRADE_WARN;
		f->mend = "free some space: VMs get I/O errors on a full disk";
	}
}

static bool is_up(struct ctl *c)
{
	if (c->fs < 0 && tree_probe(c, "version", TREE_PATIENCE_MSEC) == TREE_ANSWERS)
		c->fs = open(c->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return c->fs >= 0;
}

static void check_up(struct ctl *c, struct finding *f)
{
	if (is_up(c)) {
		snprintf(f->text, sizeof(f->text), "the tree is served at %.150s", c->mount);
		return;
	}
	f->grade = GRADE_WARN;
	f->mend = "sudo banger up";
	snprintf(f->text, sizeof(f->text), "nothing is served at %.150s", c->mount);
}

/* Proven by a guest that came up with it, or not: the device alone says nothing. */
static void check_kvm(struct ctl *c, struct finding *f)
{
	_cleanup_free_ char *why = is_up(c) ? tree_read(c, "host/kvm") : NULL;

	if (why && strcmp(why, "proven") == 0) {
		snprintf(f->text, sizeof(f->text), "proven by a guest");
		return;
	}
	f->grade = GRADE_WARN;
	f->mend = access("/dev/kvm", F_OK) == 0 ? "start a VM: the first start proves it"
						: "VMs are emulated: slower, but they work";
	snprintf(f->text, sizeof(f->text), "%.180s", why ? why : "not proven on this boot");
}

static void check_objects(struct ctl *c, struct finding *f, const char *kind, const char *mend)
{
	char **names = is_up(c) ? tree_names(c, kind) : NULL;

	if (names && names[0]) {
		snprintf(f->text, sizeof(f->text), "%.60s is there", names[0]);
	} else {
		f->grade = GRADE_WARN;
		f->mend = mend;
		snprintf(f->text, sizeof(f->text), "none yet: the first start gets one");
	}
	tree_free_names(names);
}

static void check_kernel(struct ctl *c, struct finding *f)
{
	check_objects(c, f, "kernels", "banger kernel pull");
}

static void check_image(struct ctl *c, struct finding *f)
{
	check_objects(c, f, "images", "banger image build busybox");
}

static const struct {
	const char *name;
	void (*check)(struct ctl *c, struct finding *f);
} rows[] = {
	{"fuse", check_fuse},
	{"tun", check_tun},
	{"qemu", check_qemu},
	{"busybox", check_busybox},
	{"apt", check_apt},
	{"space", check_space},
	{"up", check_up},
	{"kvm", check_kvm},
	{"kernel", check_kernel},
	{"image", check_image},
};

int doctor_run(struct ctl *c, bool json)
{
	static const char *const grades[] = {"PASS", "WARN", "FAIL"};
	json_object *all = json ? json_object_new_array() : NULL;
	int result = EXIT_OK;

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct finding f = {0};

		rows[i].check(c, &f);
		if (f.grade == GRADE_FAIL)
			result = EXIT_FAILED;
		if (json) {
			json_object *one = json_object_new_object();

			json_object_object_add(one, "row", json_object_new_string(rows[i].name));
			json_object_object_add(one, "grade", json_object_new_string(grades[f.grade]));
			json_object_object_add(one, "found", json_object_new_string(f.text));
			json_object_object_add(one, "mend", json_object_new_string(f.mend ? f.mend : ""));
			json_object_array_add(all, one);
		} else {
			printf("%s  %-8s %s\n", grades[f.grade], rows[i].name, f.text);
			if (f.mend)
				printf("      %-8s   to mend: %s\n", "", f.mend);
		}
	}
	if (json)
		show_json(all);
	return result;
}
