/* Columns out of rows, in C: what testbed/columns.py does, with the same results. Part of the compiled build
 * (testbed/compiled.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define DEEPEST 8 /* of a path */

typedef struct {
    Py_ssize_t depth, path[DEEPEST];
    PyObject *known;  /* borrowed; NULL: the column holds numbers as they are */
    PyObject *column; /* a bytearray */
} Pick;

/* What is at the end of the path from row, borrowed; None as soon as there is None on the way; NULL with an exception. */
static PyObject *at(PyObject *row, const Pick *pick)
{
    for (Py_ssize_t i = 0; i < pick->depth && row != Py_None; i++) {
        if (!PyTuple_Check(row) || pick->path[i] >= PyTuple_GET_SIZE(row))
            return PyErr_Format(PyExc_TypeError, "%R has no place %zd", row, pick->path[i]);
        row = PyTuple_GET_ITEM(row, pick->path[i]);
    }
    return row;
}

/* The number of value among those known, which it joins as the last one; -1 with an exception. */
static int64_t code_of(PyObject *known, PyObject *value)
{
    PyObject *code = PyDict_GetItemWithError(known, value);
    if (code != NULL)
        return PyLong_AsLongLong(code);
    if (PyErr_Occurred())
        return -1;
    int64_t next = PyDict_GET_SIZE(known);
    PyObject *number = PyLong_FromLongLong(next);
    if (number == NULL || PyDict_SetItem(known, value, number) < 0)
        next = -1;
    Py_XDECREF(number);
    return next;
}

static int read_pick(PyObject *told, Pick *pick, Py_ssize_t rows)
{
    PyObject *path;
    if (!PyArg_ParseTuple(told, "O!O", &PyTuple_Type, &path, &pick->known))
        return -1;
    pick->depth = PyTuple_GET_SIZE(path);
    if (pick->depth > DEEPEST || (pick->known != Py_None && !PyDict_Check(pick->known))) {
        PyErr_Format(PyExc_TypeError, "%R is no pick", told);
        return -1;
    }
    if (pick->known == Py_None)
        pick->known = NULL;
    for (Py_ssize_t i = 0; i < pick->depth; i++) {
        pick->path[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(path, i));
        if (pick->path[i] < 0) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_TypeError, "%R is no pick", told);
            return -1;
        }
    }
    pick->column = PyByteArray_FromStringAndSize(NULL, rows * (Py_ssize_t)sizeof(int64_t));
    return pick->column == NULL ? -1 : 0;
}

static int fill(PyObject *rows, const Pick *picks, Py_ssize_t columns)
{
    for (Py_ssize_t row = 0; row < PyList_GET_SIZE(rows); row++) {
        for (Py_ssize_t i = 0; i < columns; i++) {
            const Pick *pick = &picks[i];
            PyObject *value = at(PyList_GET_ITEM(rows, row), pick);
            if (value == NULL)
                return -1;
            int64_t number = pick->known != NULL ? code_of(pick->known, value)
                             : value == Py_None  ? -1
                                                 : PyLong_AsLongLong(value);
            if (number == -1 && PyErr_Occurred())
                return -1;
            memcpy(PyByteArray_AS_STRING(pick->column) + row * (Py_ssize_t)sizeof number, &number, sizeof number);
        }
    }
    return 0;
}

static PyObject *gather(PyObject *module, PyObject *args)
{
    PyObject *rows, *told, *columns = NULL;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &rows, &PyTuple_Type, &told))
        return NULL;
    Py_ssize_t count = PyTuple_GET_SIZE(told);
    Pick *picks = PyMem_Calloc(count ? (size_t)count : 1, sizeof(Pick));
    if (picks == NULL)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++)
        if (read_pick(PyTuple_GET_ITEM(told, i), &picks[i], PyList_GET_SIZE(rows)) < 0)
            goto done;
    if (fill(rows, picks, count) < 0)
        goto done;
    columns = PyList_New(count);
    for (Py_ssize_t i = 0; columns != NULL && i < count; i++)
        PyList_SET_ITEM(columns, i, Py_NewRef(picks[i].column));
done:
    for (Py_ssize_t i = 0; i < count; i++)
        Py_XDECREF(picks[i].column);
    PyMem_Free(picks);
    return columns;
}

static PyObject *grouped(PyObject *module, PyObject *args)
{
    PyObject *rows, *groups = PyDict_New();
    Pick pick = {1};
    if (groups == NULL || !PyArg_ParseTuple(args, "O!n", &PyList_Type, &rows, &pick.path[0]))
        goto failed;
    for (Py_ssize_t row = 0; row < PyList_GET_SIZE(rows); row++) {
        PyObject *kind = at(PyList_GET_ITEM(rows, row), &pick);
        if (kind == NULL)
            goto failed;
        PyObject *chosen = PyDict_GetItemWithError(groups, kind);
        if (chosen == NULL) {
            if (PyErr_Occurred() || (chosen = PyList_New(0)) == NULL)
                goto failed;
            int kept = PyDict_SetItem(groups, kind, chosen);
            Py_DECREF(chosen); /* the groups hold it */
            if (kept < 0)
                goto failed;
        }
        PyObject *place = PyLong_FromSsize_t(row);
        int added = place == NULL ? -1 : PyList_Append(chosen, place);
        Py_XDECREF(place);
        if (added < 0)
            goto failed;
    }
    return groups;
failed:
    Py_XDECREF(groups);
    return NULL;
}

static PyMethodDef functions[] = {
    {"gather", gather, METH_VARARGS, "The picked columns, each as the bytes of 64-bit integers."},
    {"grouped", grouped, METH_VARARGS, "The places of the rows that hold the same at one place."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_columns", "Columns out of rows, in C.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_columns(void)
{
    return PyModule_Create(&definition);
}
