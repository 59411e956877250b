#include "job/steps.h"

static void undo(const struct step *step, void *ctx, struct err *e)
{
	_cleanup_err_ struct err more = {0};

	if (step->undo && step->undo(ctx, &more) < 0)
		err_join(e, "undoing %s: %s", step->name, err_text(&more));
}

int steps_run(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e)
{
	_cleanup_err_ struct err first = {0};

	for (size_t i = 0; i < n; i++) {
		int r;

		op_stage(op, steps[i].name);
		r = op_check(op, &first);
		if (r == 0)
			r = steps[i].run(ctx, &first);
		if (r == 0)
			continue;
		if (!first.code)
			err_set(&first, r, "failed");
		err_wrap(&first, "%s", steps[i].name);
		/* The failing step too: it may have half acquired what it was after. */
		for (size_t k = i + 1; k-- > 0;)
			undo(&steps[k], ctx, &first);
		err_move(e, &first);
		return r;
	}
	return 0;
}

int steps_run_all(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e)
{
	_cleanup_err_ struct err first = {0};
	int code = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_err_ struct err one = {0};
		int r;

		op_stage(op, steps[i].name);
		r = steps[i].run(ctx, &one);
		if (r == 0)
			continue;
		if (code == 0) {
			code = r;
			err_set(&first, r, "%s: %s", steps[i].name, err_text(&one));
		} else {
			err_join(&first, "%s: %s", steps[i].name, err_text(&one));
		}
	}
	if (code < 0)
		err_move(e, &first);
	return code;
}
