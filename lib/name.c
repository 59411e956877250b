#include <string.h>

#include "banger/name.h"

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool name_vm_valid(const char *s)
{
	size_t n = strnlen(s, NAME_VM_MAX + 1);

	if (n == 0 || n > NAME_VM_MAX || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower(s[i]) && !is_digit(s[i]) && s[i] != '-')
			return false;
	return true;
}

bool name_object_valid(const char *s)
{
	size_t n = strnlen(s, NAME_VM_MAX + 1);

	if (n == 0 || n > NAME_VM_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool alnum = is_lower(s[i]) || is_digit(s[i]) || (s[i] >= 'A' && s[i] <= 'Z');

		if (!alnum && (i == 0 || !strchr("_.-", s[i])))
			return false;
	}
	return true;
}

bool name_instance_valid(const char *s)
{
	size_t n = strnlen(s, NAME_INSTANCE_MAX + 1);

	if (n == 0 || n > NAME_INSTANCE_MAX || !is_lower(s[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_lower(s[i]) && !is_digit(s[i]))
			return false;
	return true;
}
