"""Chat templates: what they may use, with the text it gives, and attacks."""

from __future__ import annotations

from phigguf.chat import MAX_SOURCE

PHI3 = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}"
    "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
# Phi-4's and Phi-4-reasoning's: the latter begins with an instruction of its own, and leaves out what
# earlier answers thought.
PHI4 = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '<|im_sep|>' }}"
    "{{ message['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
PHI4_REASONING = (
    "<|im_start|>system<|im_sep|>Think between <think> and </think>, then answer."
    "{% if messages and messages[0].role == 'system' %}{{ ' ' + messages[0].content }}"
    "{% set messages = messages[1:] %}{% endif %}<|im_end|>"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|>' }}"
    "{% elif message['role'] == 'assistant' %}{% set answer = message['content'] %}"
    "{% if '</think>' in answer %}{% set answer = answer.split('</think>')[-1].lstrip('\n') %}"
    "{% endif %}{{ '<|im_start|>assistant<|im_sep|>' + answer + '<|im_end|>' }}"
    "{% else %}{{ raise_exception('no role ' + message['role']) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
PHI4_MINI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
    "{{ '<|tool|>' + message['tools'] + '<|/tool|>' }}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
FAMILIES = {
    "Phi-3": PHI3,
    "Phi-4": PHI4,
    "Phi-4-reasoning": PHI4_REASONING,
    "Phi-4-mini": PHI4_MINI,
}
TURNS = [
    {"role": "system", "content": "Be  brief. ", "tools": '[{"name": "f", "parameters": {}}]'},
    {"role": "user", "content": " What is 2 + 2?\n"},
    {"role": "assistant", "content": "<think>Two and\n two.</think>\n\n4"},
    {"role": "user", "content": "And <|end|> na\u00efve\U0001f600?"},
]
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi <b> & {{ 1 }} \U0001f600"},
]

# A source, and what transformers 5.23 makes of it; tests/oracle compares live.
FEATURES = {
    "bos": ("{{ bos_token }}x", "<s>x"),
    "first newline and indent are trimmed": ("  {% if 1 %}\n  a\n  {% endif %}\nb", "  a\nb"),
    "last newline is dropped": ("a\n", "a"),
    "white space control": ("a {{- 1 -}} b", "a1b"),
    "namespace": (
        "{% set n = namespace(a=0) %}{% for i in 'ab' %}{% set n.a = n.a + 1 %}{% endfor %}{{ n.a }}",
        "2",
    ),
    "loop variables": (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
        "1/2False 2/2True ",
    ),
    "loop filter": ("{% for m in messages if m.role == 'user' %}{{ m.role }}{% endfor %}", "user"),
    "break": (
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "01",
    ),
    "continue": (
        "{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
        "02",
    ),
    "recursive loop": (
        "{% for x in [1, [2]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
        "12",
    ),
    "macro": ("{% macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(3, b=4) }}", "1234"),
    "call block": (
        "{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}x{% endcall %}",
        "[x]",
    ),
    "set block": ("{% set x %}a{{ 1 }}{% endset %}{{ x }}", "a1"),
    "filter block": ("{% filter upper %}a{% endfilter %}", "A"),
    "generation block": ("{% generation %}a{{ 1 }}{% endgeneration %}", "a1"),
    "slices": ("{{ messages[1:]|length }}{{ messages[-1].role[:2] }}", "1us"),
    "concatenation": ("{{ 1 ~ 'a' ~ none ~ 2.5 ~ nothing }}", "1aNone2.5"),
    "operators": (
        "{{ 2 + 3 * 4 - 1 }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 3 }} {{ 1 / 2 }}",
        "13 3 3 8 0.5",
    ),
    "text operators": ("{{ 'a' * 3 }}{{ '%s-%d' % ('x', 3) }}{{ [1] + [2] }}", "aaax-3[1, 2]"),
    "formats": ("{{ '{} {b:>3}'.format(1, b=2) }}{{ '%s%%'|format('x') }}", "1   2x%"),
    "format with braces": ("{{ '{{{}}}'.format(1) }}", "{1}"),
    "tests": ("{{ messages is defined }}{{ x is defined }}{{ 'a' is string }}", "TrueFalseTrue"),
    "nothing given": ("{{ tools is none }}{{ documents is none }}", "TrueTrue"),
    "tojson": (
        "{{ {'b': '<é>', 'a': [1, none]}|tojson }}",
        '{"b": "<é>", "a": [1, null]}',
    ),
    "tojson with options": ("{{ {'a': 1}|tojson(indent=2) }}", '{\n  "a": 1\n}'),
    "trim": ("{{ '  a '|trim }}{{ 'xax'|trim('x') }}{{ ' a '.strip() }}", "aaa"),
    "join": (
        "{{ [1, 'a']|join(', ') }}{{ messages|join('|', attribute='role') }}",
        "1, asystem|user",
    ),
    "join method": ("{{ ', '.join(messages|map(attribute='role')) }}", "system, user"),
    "replace": ("{{ 'aba'|replace('a', 'c') }}{{ 'aba'.replace('a', '', 1) }}", "cbcba"),
    "split": ("{{ 'a</think>b'.split('</think>')[-1] }}", "b"),
    "case": ("{{ 'aB'|upper }}{{ 'aB'.lower() }}{{ 'a b'|title }}", "ABabA B"),
    "selectattr": (
        "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='role')|list }}",
        "['user']",
    ),
    "items": ("{% for k, v in messages[0].items() %}{{ k }}{% endfor %}", "rolecontent"),
    "items filter": ("{% for k, v in messages[0]|items %}{{ k }}{% endfor %}", "rolecontent"),
    "get": ("{{ messages[0].get('name', 'none') }}", "none"),
    "dict": ("{{ dict(a=1).a }}", "1"),
    "default": ("{{ x|default('d') }}{{ ''|d('e', true) }}", "de"),
    "comparison": ("{{ 'a' in 'abc' and 1 < 2 and not false }}", "True"),
    "undefined is empty": ("[{{ x }}]", "[]"),
    "no escaping": ("{{ '<&>' }}", "<&>"),
}

NESTED = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HUGE = 10**8
ESCAPES = {
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "class by item": "{{ messages['__class__'] }}",
    "class alone": "{{ messages.__class__ }}",
    "class by filter": "{{ ''|attr('__class__') }}",
    "class by map": "{{ messages|map(attribute='__class__')|list }}",
    "class by join": "{{ messages|join('', attribute='__class__') }}",
    "class by sort": "{{ messages|sort(attribute='__class__') }}",
    "class by format": "{{ '{0.__class__}'.format(messages) }}",
    "class by format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "class by late format": "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
    "globals of a function": "{{ raise_exception.__globals__ }}",
    "globals of range": "{{ range.__globals__ }}",
    "globals of a class": "{{ namespace.__init__.__globals__ }}",
    "globals of the template": "{{ self.__init__.__globals__ }}",
    "globals of a loop": "{% for m in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "globals of a macro": "{% macro f() %}{% endmacro %}{{ f.__init__.__globals__ }}",
    "code of a generator": "{{ (messages|map('upper')).gi_frame }}",
    "method resolution": "{{ namespace.mro() }}",
    "cycler": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "extends": "{% extends 'base' %}",
    "changing a message": "{{ messages[0].update(role='x') }}",
    "changing the messages": "{{ messages.append(1) }}",
    "changing by the class": "{{ dict.update(messages[0], role='x') }}",
}

# Too many steps
ENDLESS = {
    "range": "{% for i in range(10**9) %}{% endfor %}",
    "nested loops": NESTED,
    "nested loops over text": "{% for i in 'x' * 9999 %}{% for j in 'x' * 9999 %}{% endfor %}{% endfor %}",
    "loops in a macro": "{% macro f() %}" + NESTED + "{% endmacro %}{{ f() }}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "doubling macro": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}"
    ),
    "endless loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "doubling loop": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "endless block": "{% block a %}{{ self.a() }}{% endblock %}",
    "lazy filters": "{{ range(99999)|map('string')|list }}" * 9,
    "refund": "{{ messages|map('a loop', -10**9)|list }}" + NESTED,
}

# Much from little
GREEDY = {
    "text times number": f"{{{{ 'a' * {HUGE} }}}}",
    "number times text": f"{{{{ {HUGE} * 'a' }}}}",
    "list times number": f"{{{{ [0] * {HUGE} }}}}",
    "list of texts times number": "{{ ['a' * 99999] * 99999 }}",
    "doubling text": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}"
        "{% endfor %}"
    ),
    "doubling by tilde": (
        "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}"
        "{% endfor %}"
    ),
    "doubling list": (
        "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}"
        "{% endfor %}{{ ns.x }}"
    ),
    "doubling tuple": (
        "{% set ns = namespace(x=1) %}{% for i in range(99) %}{% set ns.x = (ns.x, ns.x) %}"
        "{% endfor %}{{ ns.x == ns.x }}"
    ),
    "doubling dict": (
        "{% set ns = namespace(x=1) %}{% for i in range(99) %}"
        "{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x|tojson }}"
    ),
    "doubling namespace": (
        "{% set ns = namespace(x='a' * 9999) %}{% for i in range(99) %}"
        "{% set ns.x = ns.x|string ~ namespace(a=ns.x)|string ~ ns.x %}{% endfor %}"
    ),
    "text in nested loops": (
        "{% for i in 'x' * 999 %}{% for j in 'x' * 999 %}" + "y" * 999 + "{% endfor %}{% endfor %}"
    ),
    "text in a set block": (
        "{% set x %}{% for i in range(99999) %}" + "y" * 9999 + "{% endfor %}{% endset %}"
    ),
    "slices": (
        "{% set x = 'a' * 99999 %}" + "".join(f"{{% set x{i} = x[1:] %}}" for i in range(199))
    ),
    "replace": "{{ ('a' * 999).replace('', 'b' * 99999) }}",
    "replace filter": "{{ ('a' * 999)|replace('a', 'b' * 99999) }}",
    "join": "{{ ('b' * 99999).join(['a'] * 999) }}",
    "join filter": "{{ (['a'] * 999)|join('b' * 99999) }}",
    "strip": "{{ ('a' * 999).strip('b' * 999) }}",
    "wide format": "{{ '%99999999d' % 1 }}",
    "format of given width": "{{ '%*d' % (99999999, 1) }}",
    "format with many fields": "{{ ('%(a)s' * 999) % {'a': 'x' * 99999} }}",
    "wide format filter": "{{ '%99999999d'|format(1) }}",
    "format filter with many fields": "{{ ('%(a)s' * 999)|format(a='x' * 99999) }}",
    "str.format with many fields": "{{ ('{0}' * 999).format('x' * 99999) }}",
    "str.format of given width": "{{ '{:{}}'.format(1, 99999999) }}",
    "str.format_map of given width": "{{ '{a:{a}}'.format_map({'a': 99999999}) }}",
    "format of given precision": "{{ '%.99999999f' % 1 }}",
    "wide str.format": "{{ '{:99999999}'.format(1) }}",
    "center": f"{{{{ 'a'.center({HUGE}) }}}}",
    "center filter": f"{{{{ 'a'|center({HUGE}) }}}}",
    "ljust": f"{{{{ 'a'.ljust({HUGE}) }}}}",
    "zfill": f"{{{{ 'a'.zfill({HUGE}) }}}}",
    "tabs": f"{{{{ '\t'.expandtabs({HUGE}) }}}}",
    "indent filter": f"{{{{ 'a'|indent({HUGE}, true) }}}}",
    "indented JSON": f"{{{{ messages|tojson(indent={HUGE}) }}}}",
    "separated JSON": "{{ ([0] * 9999)|tojson(separators=('a' * 99999, 'b')) }}",
    "batch": f"{{{{ [1]|batch({HUGE}, 0)|list }}}}",
    "sum of lists": "{{ ([[0] * 9999] * 9)|sum(start=[]) }}",
    "text of a list": "{% set x = 'a' * 99999 %}{{ [" + "x," * 90 + "]|string }}",
    "comparison of lists": "{{ ['a' * 9999] * 999 == ['b' * 9999] * 999 }}",
    "refusal of a list": "{% set x = 'a' * 99999 %}{{ raise_exception([" + "x," * 90 + "]) }}",
    "format of a list": "{% set x = 'a' * 99999 %}{{ '%s' % [" + "x," * 90 + "] }}",
    "lipsum": "{{ lipsum(n=99999) }}",
    "date": "{{ strftime_now('%c' * 9999) }}",
    "power": "{{ 10 ** 10 ** 10 }}{{ 2 ** 100000000 }}",
    "power tower": "{{ 99 ** 99 ** 99 }}",
    "squares": (
        "{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}"
        "{% endfor %}"
    ),
    "bytes of a number": f"{{{{ (1).to_bytes({HUGE}) }}}}",
    "rounding": f"{{{{ 1.5|round({HUGE}, 'ceil') }}}}",
}

BROKEN = {
    # Not a template
    "long source": "a" * (MAX_SOURCE + 1),
    "long number": "{{ " + "9" * 9999 + " }}",
    "nested brackets": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
    "unfinished brackets": "{{ " + "[" * 9999,
    "unfinished if": "{% if x %}",
    "unknown tag": "{% do x %}",
    "unknown filter": "{{ 1|frobnicate }}",
    # Failures
    "undefined attribute": "{{ x.y }}",
    "division by zero": "{{ 1 / 0 }}",
    "wrong type": "{{ 1 + 'a' }}",
    "not JSON": "{{ messages|map('upper')|tojson }}",
}

ATTACKS = ESCAPES | ENDLESS | GREEDY | BROKEN
