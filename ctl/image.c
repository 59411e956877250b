/* Images and kernels. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "image.h"
#include "progress.h"
#include "spool.h"
#include "tree.h"

static int verb(struct ctl *c, const char *kind, const char *line, const char *name)
{
	_cleanup_free_ char *path = NULL, *target = NULL;
	int r;

	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (asprintf(&path, "%s/ctl", kind) < 0 || asprintf(&target, "%s/%s", kind, name) < 0)
		return EXIT_FAILED;
	r = progress_write(c, path, line, target);
	return r < 0 ? tree_failure(c, line, NULL, r) : EXIT_OK;
}

static int delete (struct ctl *c, const char *kind, int argc, char **argv, const char *usage)
{
	int result = EXIT_OK;

	if (argc < 2)
		return ctl_usage(ctl_command(usage));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	for (int i = 1; i < argc; i++) {
		_cleanup_free_ char *path = NULL;

		if (!name_object_valid(argv[i]) || asprintf(&path, "%s/%s", kind, argv[i]) < 0)
			result = ctl_fail("%s: '%.64s' is no name", usage, argv[i]);
		else if (unlinkat(c->fs, path, AT_REMOVEDIR) < 0)
			result = errno == ENOENT ? image_absent(kind, argv[i])
						 : tree_failure(c, path, NULL, -errno);
	}
	return result;
}

/* Whether the verb's line would take a part of PATH for words of its own. */
static bool is_sayable(const char *path, const char *name)
{
	return !strstr(path, " tag ") && !strstr(path, " platform ") && !strstr(path, " ref ") &&
	       !strchr(path, '\n') && (name || !strstr(path, " as "));
}

/* VERB of PATH, made absolute: the daemon has another working directory. OPTIONS: " tag TAG" and its like. */
static int import_file(struct ctl *c, const char *kind, const char *word, const char *file,
	const char *options, const char *name)
{
	_cleanup_free_ char *path = realpath(file, NULL), *line = NULL;

	if (!path)
		return ctl_fail("%s: %s", file, strerror(errno));
	if (!is_sayable(path, name))
		return ctl_fail("%s: ' as ', ' tag ', ' platform ', ' ref ' or a line's end is in that path: "
				"rename it%s",
			file, name ? "" : ", or give a NAME");
	if (asprintf(&line, "%s %s%s%s%s", word, path, options, name ? " as " : "", name ? name : "") < 0)
		return EXIT_FAILED;
	return verb(c, kind, line, name ? name : "");
}

/* Of standard input, by way of a file that the daemon can read. */
static int import_stdin(struct ctl *c, const char *options, const char *name)
{
	_cleanup_free_ char *path = NULL, *all = NULL;
	int r = spool_stdin(c, &path);

	if (r != EXIT_OK)
		return r;
	r = asprintf(&all, "%s ref standard input", options) < 0
		    ? EXIT_FAILED
		    : import_file(c, "images", "import", path, all, name ? name : "stdin");
	spool_remove(path);
	return r;
}

static int image_import(struct ctl *c, int argc, char **argv)
{
	const char *tag = NULL, *platform = NULL, *words[2] = {NULL, NULL};
	_cleanup_free_ char *options = NULL;
	char **before;
	int n = 0, r;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--platform") == 0 && i + 1 < argc)
			platform = argv[++i];
		else if (strcmp(argv[i], "--tag") == 0 && i + 1 < argc)
			tag = argv[++i];
		else if ((argv[i][0] != '-' || !argv[i][1]) && n < 2)
			words[n++] = argv[i];
		else
			return ctl_usage(ctl_command("image import"));
	}
	if (n == 0)
		return ctl_usage(ctl_command("image import"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (asprintf(&options, "%s%s%s%s", tag ? " tag " : "", tag ? tag : "", platform ? " platform " : "",
		    platform ? platform : "") < 0)
		return EXIT_FAILED;
	before = tree_names(c, "images");
	r = strcmp(words[0], "-") == 0 ? import_stdin(c, options, words[1])
				       : import_file(c, "images", "import", words[0], options, words[1]);
	if (r == EXIT_OK)
		image_say_new(c, before);
	tree_free_names(before);
	return r;
}

static int image_register(struct ctl *c, int argc, char **argv)
{
	char **before;
	int r;

	if (argc < 2 || argc > 3)
		return ctl_usage(ctl_command("image register"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	before = tree_names(c, "images");
	r = import_file(c, "images", "register", argv[1], "", argv[2]);
	if (r == EXIT_OK)
		image_say_new(c, before);
	tree_free_names(before);
	return r;
}

static int image_pull(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	const char *platform = NULL, *words[2] = {NULL, NULL};
	char **before;
	int n = 0, r;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--platform") == 0 && i + 1 < argc)
			platform = argv[++i];
		else if (argv[i][0] != '-' && n < 2)
			words[n++] = argv[i];
		else
			return ctl_usage(ctl_command("image pull"));
	}
	if (n == 0)
		return ctl_usage(ctl_command("image pull"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (asprintf(&line, "pull %s%s%s%s%s", words[0], platform ? " platform " : "",
		    platform ? platform : "", words[1] ? " as " : "", words[1] ? words[1] : "") < 0)
		return EXIT_FAILED;
	before = tree_names(c, "images");
	r = verb(c, "images", line, words[1] ? words[1] : "");
	if (r == EXIT_OK)
		image_say_pulled(c, words[0], platform, words[1], before);
	tree_free_names(before);
	return r;
}

static int image_push(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	int r;

	if (argc != 3)
		return ctl_usage(ctl_command("image push"));
	if (asprintf(&line, "push %s as %s", argv[1], argv[2]) < 0)
		return EXIT_FAILED;
	r = verb(c, "images", line, argv[1]);
	if (r == EXIT_OK)
		image_say_pushed(c, argv[1]);
	return r;
}

static int image_build(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	const char *name = argc > 2 ? argv[2] : argc > 1 ? argv[1] : NULL;

	if (argc < 2 || argc > 3)
		return ctl_usage(ctl_command("image build"));
	if (asprintf(&line, "build %s as %s", argv[1], name) < 0)
		return EXIT_FAILED;
	return verb(c, "images", line, name);
}

static int image_delete(struct ctl *c, int argc, char **argv)
{
	return delete (c, "images", argc, argv, strcmp(argv[0], "rm") == 0 ? "image rm" : "image delete");
}

static int kernel_pull(struct ctl *c, int argc, char **argv)
{
	_cleanup_free_ char *line = NULL;
	const char *name = argc > 1 ? argv[1] : "debian";

	if (argc > 2)
		return ctl_usage(ctl_command("kernel pull"));
	if (asprintf(&line, "pull as %s", name) < 0)
		return EXIT_FAILED;
	return verb(c, "kernels", line, name);
}

static int kernel_import(struct ctl *c, int argc, char **argv)
{
	if (argc < 2 || argc > 3)
		return ctl_usage(ctl_command("kernel import"));
	return import_file(c, "kernels", "import", argv[1], "", argv[2]);
}

static int kernel_delete(struct ctl *c, int argc, char **argv)
{
	return delete (c, "kernels", argc, argv, "kernel delete");
}

const struct command commands_image[] = {
	{"image ls", "[--json]", "the images", image_ls},
	{"image show", "[--json] NAME", "all that is known of one", image_show},
	{"image pull", "[--platform OS/ARCH] REF [NAME]",
		"get one from a registry, or see that it is what is there", image_pull},
	{"image push", "NAME REF", "put one into a registry", image_push},
	{"image import", "[--tag TAG] [--platform OS/ARCH] PATH|- [NAME]",
		"make one of a root file system's tar or folder, an OCI layout or archive, or what `docker "
		"save` wrote; -: standard input",
		image_import},
	{"image register", "PATH [NAME]", "make one of a copy of an ext4 file", image_register},
	{"image build", "debian|busybox [NAME]", "make a Debian with systemd and sshd, or busybox",
		image_build},
	{"image rm", "NAME...", "delete images that no VM uses", image_delete},
	{"image delete", "NAME...", "the same", image_delete},
	{"kernel ls", "[--json]", "the kernels", kernel_ls},
	{"kernel pull", "[NAME]", "get Debian's cloud kernel by this host's apt", kernel_pull},
	{"kernel import", "PATH [NAME]",
		"make one of a Debian package, or a folder with vmlinuz and lib/modules", kernel_import},
	{"kernel delete", "NAME...", "delete kernels that no VM uses", kernel_delete},
	{NULL, NULL, NULL, NULL},
};
