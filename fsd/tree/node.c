#include "banger/cleanup.h"
#include "tree/node.h"

#define CLASS_SHIFT     61
#define CLASS_ALIAS     2ull
#define ALIAS_ROW_BITS  26
#define ALIAS_ROW_MAX   ((1ull << ALIAS_ROW_BITS) - 1)
#define SERIAL_MAX      0xffffull
#define ATTR_BITS       12
#define KIND_SHIFT      (NODE_ROW_BITS + ATTR_BITS)
#define GENERATION_BITS 8
#define GUEST_VM_SHIFT  (32 + GENERATION_BITS)

static const uint64_t space_classes[] = {[NODE_WORK] = 1, [NODE_WORK_IN_ROOT] = 3, [NODE_TREE] = 4};

uint64_t node_number(enum node_kind kind, uint64_t row, uint16_t attr)
{
	if (kind == KIND_ROOT && row == 0 && attr == 0)
		return NODE_ROOT;
	return (uint64_t)kind << KIND_SHIFT | (row & NODE_ROW_MAX) << ATTR_BITS | (attr & NODE_ATTR_MAX);
}

uint64_t node_guest_number(uint32_t vm, enum node_space space, uint32_t ino, uint32_t generation)
{
	return space_classes[space] << CLASS_SHIFT | (uint64_t)(vm & NODE_GUEST_VM_MAX) << GUEST_VM_SHIFT |
	       (uint64_t)ino << GENERATION_BITS | (generation & 0xff);
}

uint64_t node_alias(uint64_t number, uint64_t serial)
{
	if (number >> CLASS_SHIFT != 0 || (number >> ATTR_BITS & NODE_ROW_MAX) > ALIAS_ROW_MAX)
		return number;
	return number | CLASS_ALIAS << CLASS_SHIFT | (serial & SERIAL_MAX) << (ALIAS_ROW_BITS + ATTR_BITS);
}

bool node_parse(uint64_t number, struct node *ret)
{
	struct node n = {0};

	if (number == NODE_ROOT) {
		*ret = (struct node){.kind = KIND_ROOT};
		return true;
	}
	for (size_t i = 0; i < ELEMENTSOF(space_classes); i++) {
		if (number >> CLASS_SHIFT != space_classes[i])
			continue;
		n.guest = true;
		n.space = (enum node_space)i;
		n.vm = (uint32_t)(number >> GUEST_VM_SHIFT & NODE_GUEST_VM_MAX);
		n.ino = (uint32_t)(number >> GENERATION_BITS);
		n.generation = (uint8_t)number;
		*ret = n;
		return true;
	}
	if (number >> CLASS_SHIFT == CLASS_ALIAS)
		number &= ~(CLASS_ALIAS << CLASS_SHIFT | SERIAL_MAX << (ALIAS_ROW_BITS + ATTR_BITS));
	n.kind = (enum node_kind)(number >> KIND_SHIFT);
	n.row = number >> ATTR_BITS & NODE_ROW_MAX;
	n.attr = (uint16_t)(number & NODE_ATTR_MAX);
	if (n.kind <= KIND_NONE || n.kind >= KIND_COUNT || (n.kind == KIND_ROOT && n.row == 0 && n.attr == 0))
		return false;
	*ret = n;
	return true;
}
