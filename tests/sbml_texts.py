"""Small SBML documents for the tests, made from their parts."""

MATH = 'xmlns="http://www.w3.org/1998/Math/MathML"'
_TIME = "http://www.sbml.org/sbml/symbols/time"


def math(body):
    return f"<math {MATH}>{body}</math>"


def apply(operation, *arguments):
    return f"<apply><{operation}/>{''.join(arguments)}</apply>"


def csymbol(name, what):
    return (
        f'<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/{name}">'
        f"{what}</csymbol>"
    )


def ci(name):
    return f"<ci>{name}</ci>"


def cn(value):
    return f"<cn>{value}</cn>"


TIME = csymbol("time", "time")


def parameter(name, value=None, *, constant=True):
    given = "" if value is None else f' value="{value}"'
    return f'<parameter id="{name}"{given} constant="{str(constant).lower()}"/>'


def compartment(name="c", size=None, *, constant=True, dimensions=3):
    given = "" if size is None else f' size="{size}"'
    return (
        f'<compartment id="{name}" spatialDimensions="{dimensions}"{given} '
        f'constant="{str(constant).lower()}"/>'
    )


def species(
    name,
    amount=None,
    *,
    concentration=None,
    place="c",
    amounts_only=True,
    boundary=False,
    constant=False,
):
    given = "" if amount is None else f' initialAmount="{amount}"'
    given += "" if concentration is None else f' initialConcentration="{concentration}"'
    flags = {
        "hasOnlySubstanceUnits": amounts_only,
        "boundaryCondition": boundary,
        "constant": constant,
    }
    said = " ".join(f'{key}="{str(value).lower()}"' for key, value in flags.items())
    return f'<species id="{name}" compartment="{place}"{given} {said}/>'


def _side(tag, terms):
    references = "".join(
        f'<speciesReference species="{name}" stoichiometry="{count}" constant="true"/>'
        for name, count in terms.items()
    )
    return f"<{tag}>{references}</{tag}>" if terms else ""


def reaction(name, reactants, products, law, *, reversible=False, local=""):
    local = f"<listOfLocalParameters>{local}</listOfLocalParameters>" if local else ""
    kinetic = f"<kineticLaw>{math(law)}{local}</kineticLaw>" if law else ""
    return (
        f'<reaction id="{name}" reversible="{str(reversible).lower()}">'
        f"{_side('listOfReactants', reactants)}{_side('listOfProducts', products)}{kinetic}"
        "</reaction>"
    )


def rule(kind, name, body):
    return f'<{kind}Rule variable="{name}">{math(body)}</{kind}Rule>'


def initial(name, body):
    return f'<initialAssignment symbol="{name}">{math(body)}</initialAssignment>'


def function(name, arguments, body):
    bvars = "".join(f"<bvar><ci>{one}</ci></bvar>" for one in arguments)
    return (
        f'<functionDefinition id="{name}">{math(f"<lambda>{bvars}{body}</lambda>")}'
        "</functionDefinition>"
    )


def event(trigger, assignments, *, delay="", priority="", attributes="", name=""):
    said = f' id="{name}"' if name else ""
    parts = "".join(
        f"<{tag}>{math(body)}</{tag}>"
        for tag, body in (("priority", priority), ("delay", delay))
        if body
    )
    assigned = "".join(
        f'<eventAssignment variable="{target}">{math(body)}</eventAssignment>'
        for target, body in assignments.items()
    )
    return (
        f'<event{said} useValuesFromTriggerTime="true">'
        f'<trigger initialValue="true" persistent="true"{attributes}>{math(trigger)}</trigger>'
        f"{parts}<listOfEventAssignments>{assigned}</listOfEventAssignments></event>"
    )


_LISTS = (
    "functionDefinition",
    "compartment",
    "species",
    "parameter",
    "initialAssignment",
    "rule",
    "constraint",
    "reaction",
    "event",
)
_PLURALS = {
    "functionDefinition": "listOfFunctionDefinitions",
    "compartment": "listOfCompartments",
    "species": "listOfSpecies",
    "parameter": "listOfParameters",
    "initialAssignment": "listOfInitialAssignments",
    "rule": "listOfRules",
    "constraint": "listOfConstraints",
    "reaction": "listOfReactions",
    "event": "listOfEvents",
}


def document(*elements, attributes="", model=""):
    """Return a Level 3 Version 2 document with the elements sorted into their lists."""
    groups = {kind: [] for kind in _LISTS}
    for element in elements:
        tag = element[1:].split(None, 1)[0].split(">", 1)[0]
        groups["rule" if tag.endswith("Rule") else tag].append(element)
    lists = "\n".join(
        f"<{_PLURALS[kind]}>\n{chr(10).join(group)}\n</{_PLURALS[kind]}>"
        for kind, group in groups.items()
        if group
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<sbml xmlns="http://www.sbml.org/sbml/level3/version2/core" level="3" version="2"'
        f'{attributes}>\n<model id="m"{model}>\n{lists}\n</model>\n</sbml>\n'
    )
