/* The module damon_idle_native._check: `check.c` for Python. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
	PyObject_HEAD
	struct check check;
} Check;

static void check_dealloc(PyObject *self)
{
	struct check *check = &((Check *)self)->check;
	PyTypeObject *type = Py_TYPE(self);

	free(check->process);
	free(check->page);
	free(check->frame);
	((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
	Py_DECREF(type);
}

static PyObject *check_in_memory(PyObject *self, void *Py_UNUSED(closure))
{
	const struct check *check = &((Check *)self)->check;
	PyObject *list = PyList_New((Py_ssize_t)check->processes);
	size_t at;

	for (at = 0; list && at < check->processes; at++) {
		const struct process *process = &check->process[at];
		PyObject *item = process->gone ? Py_NewRef(Py_None)
					       : PyLong_FromSize_t(process->in_memory);

		if (!item || PyList_SetItem(list, (Py_ssize_t)at, item) < 0)
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *check_look(PyObject *self, PyObject *Py_UNUSED(unused))
{
	const struct check *check = &((Check *)self)->check;
	struct words words;
	bool enough = make_words(&words, check->pages);
	struct frame *used = malloc(check->marked * sizeof(*used) + 1);
	uint8_t *state = malloc(check->pages + 1);
	bool *gone = malloc(check->processes + 1);
	PyObject *list = NULL;
	size_t at;

	if (!enough || !used || !state || !gone) {
		PyErr_NoMemory();
		goto end;
	}
	Py_BEGIN_ALLOW_THREADS
	look_at_pages(check, &words, used, state, gone);
	Py_END_ALLOW_THREADS
	list = PyList_New((Py_ssize_t)check->processes);
	for (at = 0; list && at < check->processes; at++) {
		const struct process *process = &check->process[at];
		PyObject *item = gone[at] ? Py_NewRef(Py_None)
					  : PyBytes_FromStringAndSize(
						    (const char *)state + process->first,
						    (Py_ssize_t)process->pages);

		if (!item || PyList_SetItem(list, (Py_ssize_t)at, item) < 0)
			Py_CLEAR(list);
	}
end:
	free_words(&words);
	free(used);
	free(state);
	free(gone);
	return list;
}

/* Add a process and its pages to a check; return false with an exception set if it is of no use. */
static bool add_process(struct check *check, PyObject *item, struct process *process)
{
	const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	PyObject *addresses;
	Py_buffer view;
	struct page *page;
	size_t at, number;

	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "pages: each has to be a tuple");
		return false;
	}
	if (!PyArg_ParseTuple(item, "iO", &process->pagemap, &addresses))
		return false;
	if (PyObject_GetBuffer(addresses, &view, PyBUF_ND | PyBUF_FORMAT) < 0)
		return false;
	if (view.ndim != 1 || view.itemsize != sizeof(int64_t) || !view.format ||
	    (strcmp(view.format, "l") && strcmp(view.format, "q"))) {
		PyErr_SetString(PyExc_TypeError, "addresses have to be 64-bit integers");
		PyBuffer_Release(&view);
		return false;
	}
	number = (size_t)view.len / sizeof(int64_t);
	page = realloc(check->page, (check->pages + number) * sizeof(*page) + 1);
	if (!page) {
		PyBuffer_Release(&view);
		PyErr_NoMemory();
		return false;
	}
	check->page = page;
	for (at = 0; at < number; at++)
		page[check->pages + at] = (struct page){
			.place = (uint64_t)((const int64_t *)view.buf)[at] / page_bytes,
		};
	PyBuffer_Release(&view);
	process->first = check->pages;
	process->pages = number;
	check->pages += number;
	return true;
}

PyDoc_STRVAR(mark_doc,
	     "mark($module, bitmap, flags, pages, /)\n--\n\n"
	     "Mark pages of processes as idle, and return what looks at them.\n\n"
	     "The entry point of damon_idle.helper, where the arguments are described.");

static PyObject *mark(PyObject *module, PyObject *args)
{
	PyTypeObject *type = *(PyTypeObject **)PyModule_GetState(module);
	int bitmap, flags;
	PyObject *pages;
	Py_ssize_t number, at;
	Check *self;
	struct check *check;
	struct words words;
	bool enough, shown = true;

	if (!PyArg_ParseTuple(args, "iiO:mark", &bitmap, &flags, &pages))
		return NULL;
	number = PySequence_Size(pages);
	if (number < 0)
		return NULL;
	self = (Check *)PyType_GenericAlloc(type, 0);
	if (!self)
		return NULL;
	check = &self->check;
	check->bitmap = bitmap;
	check->flags = flags;
	check->process = calloc((size_t)number + 1, sizeof(*check->process));
	if (!check->process)
		goto no_memory;
	for (at = 0; at < number; at++) {
		PyObject *item = PySequence_GetItem(pages, at);
		bool added = item && add_process(check, item, &check->process[at]);

		Py_XDECREF(item);
		if (!added)
			goto failed;
		check->processes++;
	}
	check->frame = malloc(check->pages * sizeof(*check->frame) + 1);
	if (!check->frame)
		goto no_memory;
	enough = make_words(&words, check->pages);
	if (enough) {
		Py_BEGIN_ALLOW_THREADS
		shown = mark_pages(check, &words);
		Py_END_ALLOW_THREADS
	}
	free_words(&words);
	if (!enough)
		goto no_memory;
	if (!shown) {
		errno = EPERM;
		PyErr_SetFromErrno(PyExc_OSError);
		goto failed;
	}
	return (PyObject *)self;
no_memory:
	PyErr_NoMemory();
failed:
	Py_DECREF(self);
	return NULL;
}

static PyMethodDef check_methods[] = {
	{"look", check_look, METH_NOARGS,
	 "look($self, /)\n--\n\nReturn the state of each page of each process."},
	{0},
};

static PyGetSetDef check_attributes[] = {
	{"in_memory", check_in_memory, NULL, "Pages in memory of each process; None if it is gone.",
	 NULL},
	{0},
};

static PyType_Slot check_slots[] = {
	{Py_tp_doc, "Pages that were marked."},
	{Py_tp_dealloc, check_dealloc},
	{Py_tp_methods, check_methods},
	{Py_tp_getset, check_attributes},
	{0},
};

static PyType_Spec check_spec = {
	.name = "damon_idle_native.Check",
	.basicsize = sizeof(Check),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = check_slots,
};

static int module_exec(PyObject *module)
{
	PyObject **type = PyModule_GetState(module);

	*type = PyType_FromModuleAndSpec(module, &check_spec, NULL);
	return *type ? PyModule_AddType(module, (PyTypeObject *)*type) : -1;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
	Py_VISIT(*(PyObject **)PyModule_GetState(module));
	return 0;
}

static int module_clear(PyObject *module)
{
	Py_CLEAR(*(PyObject **)PyModule_GetState(module));
	return 0;
}

static PyMethodDef module_methods[] = {
	{"mark", mark, METH_VARARGS, mark_doc},
	{0},
};

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, module_exec},
	{0},
};

static struct PyModuleDef module_definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "damon_idle_native._check",
	.m_doc = "A check of pages in compiled code.",
	.m_size = sizeof(PyObject *),
	.m_methods = module_methods,
	.m_slots = module_slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__check(void)
{
	return PyModuleDef_Init(&module_definition);
}
