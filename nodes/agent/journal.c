/* The lines of a journal, written and read in C: what nodes/agent/journal.py does, with the same results. Part of the
 * compiled build (testbed/compiled.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_KINDS 64
#define MOST_COLUMNS 16

enum { NUMBER, FLAG, TEXT, OCTETS }; /* what a column holds: int, bool, str, bytes */

/* -- writing -------------------------------------------------------------------------------------------------------- */

static struct {
    char *text;
    size_t used, room;
} out; /* the lines so far; it stays as large as it once had to be */

static int make_room(size_t more)
{
    if (out.used + more <= out.room)
        return 0;
    size_t room = 2 * (out.used + more) + 4096;
    char *text = PyMem_Realloc(out.text, room);
    if (text == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    out.text = text;
    out.room = room;
    return 0;
}

static int put(const char *text, size_t size)
{
    if (make_room(size) < 0)
        return -1;
    memcpy(out.text + out.used, text, size);
    out.used += size;
    return 0;
}

static int put_number(PyObject *number)
{
    char digits[20], *at = digits + sizeof digits;
    int too_long;
    long long value = PyLong_AsLongLongAndOverflow(number, &too_long);
    if (value == -1 && !too_long && PyErr_Occurred())
        return -1;
    if (too_long) {
        PyObject *text = PyNumber_ToBase(number, 10);
        Py_ssize_t size;
        const char *written = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, &size);
        int failed = written == NULL || put(written, (size_t)size) < 0;
        Py_XDECREF(text);
        return failed ? -1 : 0;
    }
    unsigned long long rest = value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0 && put("-", 1) < 0)
        return -1;
    return put(at, (size_t)(digits + sizeof digits - at));
}

static int put_text(PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "%R is no text", text);
        return -1;
    }
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (encoded == NULL)
        return -1;
    const char *from = PyBytes_AS_STRING(encoded), *end = from + PyBytes_GET_SIZE(encoded);
    int failed = make_room(2 * (size_t)(end - from)) < 0;
    for (; !failed && from < end; from++) {
        int escaped = *from == '\\' || *from == '\t' || *from == '\n';
        if (escaped)
            out.text[out.used++] = '\\';
        out.text[out.used++] = !escaped || *from == '\\' ? *from : *from == '\t' ? 't' : 'n';
    }
    Py_DECREF(encoded);
    return failed ? -1 : 0;
}

static int put_octets(PyObject *octets)
{
    if (!PyBytes_Check(octets)) {
        PyErr_Format(PyExc_TypeError, "%R are no bytes", octets);
        return -1;
    }
    const unsigned char *from = (const unsigned char *)PyBytes_AS_STRING(octets);
    Py_ssize_t size = PyBytes_GET_SIZE(octets);
    if (make_room(2 * (size_t)size) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < size; i++) {
        out.text[out.used++] = "0123456789abcdef"[from[i] >> 4];
        out.text[out.used++] = "0123456789abcdef"[from[i] & 15];
    }
    return 0;
}

/* One column of what; column: the place of its field, the place in there of a nested tuple's (-1: it is none), and what
 * it holds. */
static int put_column(PyObject *what, PyObject *column)
{
    Py_ssize_t field = PyLong_AsSsize_t(PyTuple_GET_ITEM(column, 0)), place = PyLong_AsSsize_t(PyTuple_GET_ITEM(column, 1));
    PyObject *value = field < PyTuple_GET_SIZE(what) ? PyTuple_GET_ITEM(what, field) : NULL;
    if (value != NULL && place >= 0) {
        if (value == Py_None)
            return put("-1", 2);
        value = PyTuple_Check(value) && place < PyTuple_GET_SIZE(value) ? PyTuple_GET_ITEM(value, place) : NULL;
    }
    if (value == NULL) {
        PyErr_Format(PyExc_TypeError, "%R lacks a column", what);
        return -1;
    }
    switch (PyLong_AsLong(PyTuple_GET_ITEM(column, 2))) {
    case TEXT:
        return put_text(value);
    case OCTETS:
        return put_octets(value);
    default:
        return put_number(value);
    }
}

static int put_row(PyObject *row, PyObject *form_of)
{
    if (!PyTuple_Check(row) || PyTuple_GET_SIZE(row) != 2 || !PyTuple_Check(PyTuple_GET_ITEM(row, 1))) {
        PyErr_Format(PyExc_TypeError, "%R is no row", row);
        return -1;
    }
    PyObject *t_ns = PyTuple_GET_ITEM(row, 0), *what = PyTuple_GET_ITEM(row, 1);
    PyObject *form = PyDict_GetItemWithError(form_of, (PyObject *)Py_TYPE(what));
    if (form == NULL) {
        if (!PyErr_Occurred())
            PyErr_SetObject(PyExc_KeyError, (PyObject *)Py_TYPE(what));
        return -1;
    }
    PyObject *name = PyTuple_GET_ITEM(form, 0), *columns = PyTuple_GET_ITEM(form, 1);
    if (put_number(t_ns) < 0 || put("\t", 1) < 0 || put(PyBytes_AS_STRING(name), (size_t)PyBytes_GET_SIZE(name)) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(columns); i++)
        if (put("\t", 1) < 0 || put_column(what, PyTuple_GET_ITEM(columns, i)) < 0)
            return -1;
    return put("\n", 1);
}

static PyObject *encode(PyObject *module, PyObject *args)
{
    PyObject *rows, *form_of;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &rows, &PyDict_Type, &form_of))
        return NULL;
    out.used = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(rows); i++)
        if (put_row(PyList_GET_ITEM(rows, i), form_of) < 0)
            return NULL;
    return PyBytes_FromStringAndSize(out.text, (Py_ssize_t)out.used);
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject *bytes; /* a bytearray of 64-bit integers, with more room than is used */
    size_t used;
} Numbers;

typedef struct {
    const char *name; /* of the journal's text */
    size_t size;
    Py_ssize_t columns;
    int holds[MOST_COLUMNS];
    Numbers places, t_ns, numbers[MOST_COLUMNS];
    PyObject *objects[MOST_COLUMNS]; /* lists, of what is no number */
} Kind;

static int add_number(Numbers *numbers, int64_t number)
{
    size_t room = (size_t)PyByteArray_GET_SIZE(numbers->bytes);
    if (numbers->used + sizeof number > room && PyByteArray_Resize(numbers->bytes, (Py_ssize_t)(2 * room + 4096)) < 0)
        return -1;
    memcpy(PyByteArray_AS_STRING(numbers->bytes) + numbers->used, &number, sizeof number);
    numbers->used += sizeof number;
    return 0;
}

/* The decimal number that fills [at, end); whether it is one, and no longer than Python need not be asked. */
static int read_number(const char *at, const char *end, int64_t *number)
{
    int negative = at < end && *at == '-';
    at += negative;
    if (at == end || end - at > 18)
        return 0;
    int64_t value = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9')
            return 0;
        value = 10 * value + (*at - '0');
    }
    *number = negative ? -value : value;
    return 1;
}

static int nibble(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* What is no number; NULL without an exception: Python is to look at it. */
static PyObject *read_object(int holds, const char *at, const char *end)
{
    if (holds == FLAG)
        return end - at == 1 && (*at == '0' || *at == '1') ? PyBool_FromLong(*at == '1') : NULL;
    if (holds == TEXT)
        return memchr(at, '\\', (size_t)(end - at)) ? NULL : PyUnicode_DecodeUTF8(at, end - at, "surrogatepass");
    if ((end - at) % 2)
        return NULL;
    PyObject *octets = PyBytes_FromStringAndSize(NULL, (end - at) / 2);
    if (octets == NULL)
        return NULL;
    for (char *to = PyBytes_AS_STRING(octets); at < end; at += 2) {
        int high = nibble(at[0]), low = nibble(at[1]);
        if (high < 0 || low < 0) {
            Py_DECREF(octets);
            return NULL;
        }
        *to++ = (char)(high << 4 | low);
    }
    return octets;
}

static int begin_kind(Kind *kind, const char *name, size_t size, PyObject *known)
{
    PyObject *key = PyBytes_FromStringAndSize(name, (Py_ssize_t)size);
    PyObject *columns = key == NULL ? NULL : PyDict_GetItemWithError(known, key);
    Py_XDECREF(key);
    if (columns == NULL || PyTuple_GET_SIZE(columns) > MOST_COLUMNS)
        return -1;
    *kind = (Kind){.name = name, .size = size, .columns = PyTuple_GET_SIZE(columns)};
    kind->places.bytes = PyByteArray_FromStringAndSize(NULL, 0);
    kind->t_ns.bytes = PyByteArray_FromStringAndSize(NULL, 0);
    if (kind->places.bytes == NULL || kind->t_ns.bytes == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < kind->columns; i++) {
        kind->holds[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(columns, i));
        if (kind->holds[i] == NUMBER)
            kind->numbers[i].bytes = PyByteArray_FromStringAndSize(NULL, 0);
        else
            kind->objects[i] = PyList_New(0);
        if (kind->numbers[i].bytes == NULL && kind->objects[i] == NULL)
            return -1;
    }
    return 0;
}

static int read_column(Kind *kind, Py_ssize_t i, const char *at, const char *end)
{
    if (kind->holds[i] == NUMBER) {
        int64_t number;
        return read_number(at, end, &number) ? add_number(&kind->numbers[i], number) : -1;
    }
    PyObject *object = read_object(kind->holds[i], at, end);
    int added = object == NULL ? -1 : PyList_Append(kind->objects[i], object);
    Py_XDECREF(object);
    return added;
}

/* Where the field that begins at ``at`` ends: at the next tab, or with the line. */
static const char *field_end(const char *at, const char *line_end)
{
    const char *tab = memchr(at, '\t', (size_t)(line_end - at));
    return tab == NULL ? line_end : tab;
}

/* One line; 0, or -1 with or without an exception: then Python is to look at it. */
static int read_line(const char *at, const char *end, int64_t place, Kind *kinds, int *count, PyObject *known)
{
    int64_t t_ns;
    const char *stop = field_end(at, end);
    if (stop == end || !read_number(at, stop, &t_ns))
        return -1;
    at = stop + 1;
    stop = field_end(at, end);
    size_t size = (size_t)(stop - at);
    int which = 0;
    while (which < *count && (kinds[which].size != size || memcmp(kinds[which].name, at, size) != 0))
        which++;
    if (which == *count) {
        if (which == MOST_KINDS)
            return -1;
        ++*count;
        if (begin_kind(&kinds[which], at, size, known) < 0)
            return -1;
    }
    Kind *kind = &kinds[which];
    if (add_number(&kind->places, place) < 0 || add_number(&kind->t_ns, t_ns) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < kind->columns; i++) {
        if (stop == end)
            return -1;
        at = stop + 1;
        stop = field_end(at, end);
        if (read_column(kind, i, at, stop) < 0)
            return -1;
    }
    return stop == end ? 0 : -1;
}

static PyObject *whole(Numbers *numbers)
{
    return PyByteArray_Resize(numbers->bytes, (Py_ssize_t)numbers->used) < 0 ? NULL : Py_NewRef(numbers->bytes);
}

static PyObject *found(Kind *kinds, int count)
{
    PyObject *all = PyList_New(0);
    for (int which = 0; all != NULL && which < count; which++) {
        Kind *kind = &kinds[which];
        PyObject *columns = PyList_New(kind->columns);
        for (Py_ssize_t i = 0; columns != NULL && i < kind->columns; i++)
            PyList_SET_ITEM(columns, i, kind->objects[i] ? Py_NewRef(kind->objects[i]) : whole(&kind->numbers[i]));
        PyObject *one = columns == NULL ? NULL : Py_BuildValue(
            "s#NNN", kind->name, (Py_ssize_t)kind->size, whole(&kind->places), whole(&kind->t_ns), columns);
        if (one == NULL || PyList_Append(all, one) < 0)
            Py_CLEAR(all);
        Py_XDECREF(one);
    }
    return all;
}

static PyObject *decode(PyObject *module, PyObject *args)
{
    PyObject *data, *known, *all = NULL;
    if (!PyArg_ParseTuple(args, "SO!", &data, &PyDict_Type, &known))
        return NULL;
    Kind *kinds = PyMem_Calloc(MOST_KINDS, sizeof(Kind));
    if (kinds == NULL)
        return PyErr_NoMemory();
    const char *at = PyBytes_AS_STRING(data), *end = at + PyBytes_GET_SIZE(data);
    int count = 0, failed = 0;
    for (int64_t place = 0; at < end && !failed; place++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) /* what is behind the last whole line is no row */
            break;
        failed = read_line(at, line_end, place, kinds, &count, known) < 0;
        at = line_end + 1;
    }
    if (!failed)
        all = found(kinds, count);
    for (int which = 0; which < count; which++) {
        Py_XDECREF(kinds[which].places.bytes);
        Py_XDECREF(kinds[which].t_ns.bytes);
        for (Py_ssize_t i = 0; i < kinds[which].columns; i++) {
            Py_XDECREF(kinds[which].numbers[i].bytes);
            Py_XDECREF(kinds[which].objects[i]);
        }
    }
    PyMem_Free(kinds);
    if (all == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    return all;
}

static PyMethodDef functions[] = {
    {"encode", encode, METH_VARARGS, "The lines of rows (t_ns, what), by a dict: kind -> (name, columns)."},
    {"decode", decode, METH_VARARGS,
     "The rows of whole lines: a list of (name, places, t_ns, columns), numbers as the bytes of 64-bit integers; by a "
     "dict: name -> what its columns hold. None where Python has to look."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_journal", "The lines of a journal, in C.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_journal(void)
{
    return PyModule_Create(&definition);
}
