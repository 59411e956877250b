/*
 * The names that people give: checked here and nowhere else, by every layer (tree, helper, command, guest).
 */
#ifndef BANGER_NAME_H
#define BANGER_NAME_H

#include <stdbool.h>

#define NAME_VM_MAX       63
#define NAME_INSTANCE_MAX 6

/*
 * A VM's name: 1-63 of a-z 0-9 -, no - at either end (promise A2: it is also a host name, RFC 1123 2.1).
 */
bool name_vm_valid(const char *s);

/*
 * An image's or kernel's name: 1-63 of A-Z a-z 0-9 _ . -, first one a letter or digit.
 */
bool name_object_valid(const char *s);

/*
 * An instance's name: 1-6 of a-z 0-9, first one a letter. Short, because "bg" NAME "-" and a VM's number of
 * six digits must fit an interface name (IFNAMSIZ 16 with its NUL).
 */
bool name_instance_valid(const char *s);

#endif
