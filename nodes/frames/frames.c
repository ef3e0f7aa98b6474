/* Slots written and read in C: what encode and decode of nodes/frames/__init__.py do, with the same results, for the
 * frames that swaps are made of. Part of the compiled build (testbed/compiled.py).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define VERSION 2
#define ETHERTYPE 0x88B5
#define BODY_BYTES 16
#define BODY_AT 40
#define CRC_AT (BODY_AT + BODY_BYTES)
#define WIRE_BYTES (CRC_AT + 4)

static PyTypeObject *frame_type, *key_type, *message_type;
static PyObject *kinds; /* a dict: number -> kind */
static uint32_t table[8][256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        table[0][i] = crc;
    }
    for (int ahead = 1; ahead < 8; ahead++)
        for (uint32_t i = 0; i < 256; i++)
            table[ahead][i] = table[ahead - 1][i] >> 8 ^ table[0][table[ahead - 1][i] & 255];
}

/* The CRC-32 of all that stands before it: CRC_AT bytes, eight at a time. */
static uint32_t crc_of(const uint8_t *wire)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (const uint8_t *at = wire; at < wire + CRC_AT; at += 8)
        crc = table[7][(crc ^ at[0]) & 255] ^ table[6][(crc >> 8 ^ at[1]) & 255] ^ table[5][(crc >> 16 ^ at[2]) & 255] ^
              table[4][(crc >> 24 ^ at[3]) & 255] ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    return ~crc;
}

static uint32_t read_number(const uint8_t *at, int size)
{
    uint32_t number = 0;
    for (int i = 0; i < size; i++)
        number = number << 8 | at[i];
    return number;
}

/* Writes a number of so many bytes; 0 when it is none that fits. */
static int write_number(uint8_t *at, int size, PyObject *number)
{
    long long value = PyLong_Check(number) ? PyLong_AsLongLong(number) : -1;
    if (value < 0 || value >> 8 * size) {
        PyErr_Clear();
        return 0;
    }
    for (int i = size - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
    return 1;
}

/* A NamedTuple of these values, which it takes over; NULL with an exception when one of them is. */
static PyObject *made(PyTypeObject *type, Py_ssize_t count, PyObject **values)
{
    PyObject *tuple = type->tp_alloc(type, count);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (tuple != NULL && values[i] != NULL)
            PyTuple_SET_ITEM(tuple, i, values[i]);
        else {
            Py_XDECREF(values[i]);
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *number_at(const uint8_t *at, int size)
{
    return PyLong_FromUnsignedLong(read_number(at, size));
}

static PyObject *decode(PyObject *module, PyObject *octets)
{
    if (!PyBytes_Check(octets) || PyBytes_GET_SIZE(octets) < WIRE_BYTES || kinds == NULL)
        Py_RETURN_NONE;
    const uint8_t *wire = (const uint8_t *)PyBytes_AS_STRING(octets);
    if (read_number(wire + 12, 2) != ETHERTYPE || wire[14] >> 4 != VERSION || read_number(wire + 18, 2) != BODY_BYTES ||
        read_number(wire + CRC_AT, 4) != crc_of(wire))
        Py_RETURN_NONE;
    PyObject *number = PyLong_FromLong(wire[14] & 15);
    PyObject *kind = number == NULL ? NULL : PyDict_GetItemWithError(kinds, number);
    Py_XDECREF(number);
    if (kind == NULL) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    PyObject *key = made(key_type, 3, (PyObject *[]){
        number_at(wire + 20, 2), number_at(wire + 24, 4), number_at(wire + 36, 4)});
    PyObject *message = made(message_type, 5, (PyObject *[]){
        Py_NewRef(kind), number_at(wire + 32, 4), number_at(wire + 15, 1),
        PyBytes_FromStringAndSize((const char *)wire + BODY_AT, BODY_BYTES), number_at(wire + 16, 1)});
    return made(frame_type, 4, (PyObject *[]){key, number_at(wire + 22, 2), number_at(wire + 28, 4), message});
}

static PyObject *encode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || kinds == NULL || Py_TYPE(args[0]) != frame_type || !PyBytes_Check(args[1]) || !PyBytes_Check(args[2]) ||
        PyBytes_GET_SIZE(args[1]) != 6 || PyBytes_GET_SIZE(args[2]) != 6)
        Py_RETURN_NONE;
    PyObject *key = PyTuple_GET_ITEM(args[0], 0), *message = PyTuple_GET_ITEM(args[0], 3);
    if (Py_TYPE(key) != key_type || Py_TYPE(message) != message_type)
        Py_RETURN_NONE;
    PyObject *body = PyTuple_GET_ITEM(message, 3);
    uint8_t wire[WIRE_BYTES] = {0}, kind;
    if (!PyBytes_Check(body) || PyBytes_GET_SIZE(body) != BODY_BYTES ||
        !write_number(&kind, 1, PyTuple_GET_ITEM(message, 0)) || kind > 15 ||
        !write_number(wire + 15, 1, PyTuple_GET_ITEM(message, 2)) ||
        !write_number(wire + 16, 1, PyTuple_GET_ITEM(message, 4)) ||
        !write_number(wire + 20, 2, PyTuple_GET_ITEM(key, 0)) ||
        !write_number(wire + 22, 2, PyTuple_GET_ITEM(args[0], 1)) ||
        !write_number(wire + 24, 4, PyTuple_GET_ITEM(key, 1)) ||
        !write_number(wire + 28, 4, PyTuple_GET_ITEM(args[0], 2)) ||
        !write_number(wire + 32, 4, PyTuple_GET_ITEM(message, 1)) ||
        !write_number(wire + 36, 4, PyTuple_GET_ITEM(key, 2)))
        Py_RETURN_NONE;
    memcpy(wire, PyBytes_AS_STRING(args[1]), 6);
    memcpy(wire + 6, PyBytes_AS_STRING(args[2]), 6);
    wire[12] = ETHERTYPE >> 8;
    wire[13] = ETHERTYPE & 255;
    wire[14] = (uint8_t)(VERSION << 4 | kind);
    wire[19] = BODY_BYTES;
    memcpy(wire + BODY_AT, PyBytes_AS_STRING(body), BODY_BYTES);
    uint32_t crc = crc_of(wire);
    for (int i = 0; i < 4; i++)
        wire[CRC_AT + i] = (uint8_t)(crc >> 8 * (3 - i));
    return PyBytes_FromStringAndSize((const char *)wire, WIRE_BYTES);
}

static PyObject *learn(PyObject *module, PyObject *args)
{
    PyObject *frame, *key, *message, *known;
    if (!PyArg_ParseTuple(args, "O!O!O!O!", &PyType_Type, &frame, &PyType_Type, &key, &PyType_Type, &message,
                          &PyDict_Type, &known))
        return NULL;
    Py_XSETREF(frame_type, (PyTypeObject *)Py_NewRef(frame));
    Py_XSETREF(key_type, (PyTypeObject *)Py_NewRef(key));
    Py_XSETREF(message_type, (PyTypeObject *)Py_NewRef(message));
    Py_XSETREF(kinds, Py_NewRef(known));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"learn", learn, METH_VARARGS, "The classes of frames, keys and messages, and a dict: number -> kind, of slots."},
    {"decode", decode, METH_O, "The frame in these bytes; None where Python has to look."},
    {"encode", (PyCFunction)(void (*)(void))encode, METH_FASTCALL,
     "The bytes of a frame, its destination and source addresses given; None where Python has to look."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "oae_frames", "Slots, in C.", -1, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_oae_frames(void)
{
    make_table();
    return PyModule_Create(&definition);
}
