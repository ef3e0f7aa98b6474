/* Makes NamedTuples nearly as cheap to make as plain tuples. Part of the compiled build (testbed/compiled.py).
 *
 * typing.NamedTuple gives a class a __new__ in Python, which every call goes through: a frame of the interpreter for each
 * message, effect and frame. A class that was handed to hasten() is called through make() instead, which does the same in
 * C: positional arguments, the last ones left out where they have defaults. Whatever else a call has or lacks goes the
 * old way, with the old results and the old errors.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define MOST_KINDS 64 /* a power of two, well above the number of classes */

typedef struct {
    PyTypeObject *cls; /* NULL: a free place; classes live as long as the process */
    Py_ssize_t fields;
    PyObject *defaults; /* a tuple: those of the last fields */
} Kind;

static Kind kinds[MOST_KINDS];
static Py_ssize_t known;

/* The place of cls in the table, or the free one that it may have. */
static Kind *place_of(PyTypeObject *cls)
{
    size_t at = ((size_t)cls >> 4) % MOST_KINDS;
    while (kinds[at].cls != NULL && kinds[at].cls != cls)
        at = (at + 1) % MOST_KINDS;
    return &kinds[at];
}

static PyObject *make_in_python(PyObject *cls, PyObject *const *args, Py_ssize_t given, PyObject *names)
{
    PyObject *made = NULL, *keywords = NULL;
    PyObject *positional = PyTuple_New(given);
    if (positional == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < given; i++)
        PyTuple_SET_ITEM(positional, i, Py_NewRef(args[i]));
    if (names != NULL) {
        keywords = PyDict_New();
        if (keywords == NULL)
            goto done;
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++)
            if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(names, i), args[given + i]) < 0)
                goto done;
    }
    made = PyType_Type.tp_call(cls, positional, keywords);
done:
    Py_XDECREF(keywords);
    Py_DECREF(positional);
    return made;
}

static PyObject *make(PyObject *cls, PyObject *const *args, size_t count, PyObject *names)
{
    Py_ssize_t given = PyVectorcall_NARGS(count);
    Kind *kind = place_of((PyTypeObject *)cls);
    Py_ssize_t defaults = PyTuple_GET_SIZE(kind->defaults), missing = kind->fields - given;
    if (names != NULL || missing < 0 || missing > defaults)
        return make_in_python(cls, args, given, names);
    PyObject *made = ((PyTypeObject *)cls)->tp_alloc((PyTypeObject *)cls, kind->fields);
    if (made == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < given; i++)
        PyTuple_SET_ITEM(made, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; i < missing; i++)
        PyTuple_SET_ITEM(made, given + i, Py_NewRef(PyTuple_GET_ITEM(kind->defaults, defaults - missing + i)));
    return made;
}

static PyObject *hasten(PyObject *module, PyObject *object)
{
    PyTypeObject *cls = (PyTypeObject *)object;
    if (Py_TYPE(object) != &PyType_Type || cls->tp_base != &PyTuple_Type || !PyObject_HasAttrString(object, "_fields"))
        return PyErr_Format(PyExc_TypeError, "%R is no NamedTuple", object);
    Kind *kind = place_of(cls);
    if (kind->cls == cls)
        Py_RETURN_NONE;
    if (known >= MOST_KINDS / 2)
        return PyErr_Format(PyExc_RuntimeError, "no room for %R: raise MOST_KINDS", object);
    PyObject *fields = PyObject_GetAttrString(object, "_fields");
    PyObject *new = PyObject_GetAttrString(object, "__new__");
    PyObject *defaults = new == NULL ? NULL : PyObject_GetAttrString(new, "__defaults__");
    Py_XDECREF(new);
    if (defaults == Py_None)
        Py_SETREF(defaults, PyTuple_New(0));
    if (fields == NULL || defaults == NULL || !PyTuple_Check(fields) || !PyTuple_Check(defaults)) {
        Py_XDECREF(fields);
        Py_XDECREF(defaults);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "%R is no NamedTuple", object);
    }
    *kind = (Kind){(PyTypeObject *)Py_NewRef(object), PyTuple_GET_SIZE(fields), defaults};
    Py_DECREF(fields);
    known++;
    cls->tp_vectorcall = make;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"hasten", hasten, METH_O, "Let this NamedTuple be made in C from now on."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_named_tuples", "NamedTuples, made in C.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_named_tuples(void)
{
    return PyModule_Create(&definition);
}
