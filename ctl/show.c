#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "show.h"

#define COLUMNS_MAX 12

struct table {
	size_t columns, cells, room;
	char **text;
	size_t width[COLUMNS_MAX];
};

const char *show_size(uint64_t bytes, char buf[16])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i + 1 < ELEMENTSOF(units)) {
		v /= 1024;
		i++;
	}
	/* A whole number needs no ".0". */
	if (i == 0 || v == (double)(uint64_t)v)
		snprintf(buf, 16, "%lu %s", (unsigned long)v, units[i]);
	else
		snprintf(buf, 16, "%.1f %s", v, units[i]);
	return buf;
}

struct table *table_new(const char *const *heads)
{
	struct table *t = calloc(1, sizeof(*t));

	while (t && heads[t->columns] && t->columns < COLUMNS_MAX)
		t->columns++;
	for (size_t i = 0; t && i < t->columns; i++)
		table_cell(t, heads[i]);
	return t;
}

void table_cell(struct table *t, const char *text)
{
	size_t column, n = strlen(text);

	if (!t)
		return;
	if (t->cells == t->room) {
		size_t room = t->room ? t->room * 2 : 64;
		char **bigger = realloc(t->text, room * sizeof(*bigger));

		if (!bigger)
			return;
		t->text = bigger;
		t->room = room;
	}
	column = t->cells % t->columns;
	t->text[t->cells++] = strdup(text);
	if (n > t->width[column])
		t->width[column] = n;
}

void table_end(struct table *t)
{
	for (size_t i = 0; t && i < t->cells; i++) {
		size_t column = i % t->columns;

		if (column + 1 == t->columns)
			printf("%s\n", t->text[i] ? t->text[i] : "");
		else
			printf("%-*s  ", (int)t->width[column], t->text[i] ? t->text[i] : "");
		free(t->text[i]);
	}
	if (t)
		free(t->text);
	free(t);
}

json_object *show_json_value(const char *text)
{
	uint64_t v;

	return parse_u64(text, 0, INT64_MAX, &v) == 0 ? json_object_new_int64((int64_t)v)
						      : json_object_new_string(text);
}

int show_json(json_object *o)
{
	printf("%s\n",
		json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return 0;
}
