#include <errno.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "tree/doc.h"
#include "tree/tables.h"

static const char *kind_of(const struct attr *a)
{
	if (a->flags & ATTR_STREAM)
		return "blocks";
	if (a->flags & ATTR_LOG)
		return "grows";
	return a->flags & ATTR_STORED ? "exact" : "0";
}

static void print_dir(const struct dir_type *dir, FILE *out)
{
	const struct attr *attrs;
	size_t count, files = 0;

	attrs = dir_attrs(dir, &count);
	fprintf(out, "\n## %s\n\n%s", dir->path[0] ? dir->path : "/", dir->doc);
	if (dir->mode && !dir->is_link)
		fprintf(out, " Mode %04o.", dir->mode);
	fputs("\n", out);
	for (size_t i = 0; i < count; i++)
		files += attrs[i].doc != NULL;
	if (files > 0)
		fputs("\n| name | mode | size | |\n| --- | --- | --- | --- |\n", out);
	for (size_t i = 0; i < count; i++) {
		const struct attr *a = &attrs[i];

		/* Directories with a table of their own have a section of their own. */
		if (!a->doc)
			continue;
		fprintf(out, "| %s%s | %04o | %s | %s |\n", a->name, S_ISDIR(a->mode) ? "/" : "",
			a->mode & 07777, S_ISDIR(a->mode) ? "" : kind_of(a), a->doc);
	}
}

int tree_print_doc(FILE *out)
{
	fputs("# The tree, node by node\n\n"
	      "Made by `banger-fsd --print-tree-doc` from the tables of fsd/tree; what is written here is a "
	      "contract.\n\n"
	      "*size* says what stat(2) says: `exact` the length of the text, kept by the kernel until it "
	      "changes; `0` a text that is "
	      "made when it is read; `grows` the true length of a file that others add to; `blocks` a file "
	      "that is reachable by name but "
	      "not listed, whose read waits for something to say.\n\n"
	      "A file that can be written takes one transaction a write, of at most 4096 bytes; the error of "
	      "the write is the error of "
	      "what it asked for, and `error` of the VM and the root's `log` say why.\n",
		out);
	for (int kind = KIND_ROOT; kind < KIND_COUNT; kind++)
		print_dir(dir_types[kind], out);
	return fflush(out) != 0 ? -errno : 0;
}
