"""Rate equations against libroadrunner, on models that combine events, rules and volumes.

Both solve to 1e-9; curves must agree to 1e-5 of each column's largest value. Events are timed away
from the grid, so that no point lies on a jump.
"""

import numpy as np
import pytest

from gillespy_lite import Network, simulate

# Enzyme in a cell that grows and is halved when it is large: a rate rule on a volume, and an event
# that assigns it while the amounts stay.
GROWING_CELL = """
model growing_cell
  compartment cell = 1.0; cell' = growth*cell;
  species S in cell = 10, P in cell = 0, E in cell = 2;
  growth = 0.03; kcat = 0.7; Km = 3; kin = 1.5;
  J0: -> S; kin*cell;
  J1: S -> P; kcat*E*S/(Km + S)*cell;
  J2: P -> ; 0.1*P*cell;
  division: at cell > 1.7: cell = cell/2;
end
"""

# A dose that is repeated after a delay, with values taken at the trigger.
DOSES = """
model doses
  compartment gut = 0.5, blood = 5;
  species D in gut = 0, B in blood = 0;
  ka = 0.9; ke = 0.25; dose = 20; n = 0;
  J0: D -> B; ka*D*gut;
  J1: B -> ; ke*B*blood;
  given: at 0.37 after sin(time) > 0.5, t0 = false, fromTrigger = true: D = D + dose/gut, n = n + 1;
end
"""

# Two events at one instant, the second of which undoes the trigger of a third that waits.
PRIORITIES = """
model priorities
  species X = 1, Y = 0;
  k = 0.4; a = 0; b = 1;
  J0: X -> 2X; k*X;
  J1: -> Y; b;
  first: at time > 2.13, priority = 5: b = 3, a = a + 1;
  second: at time > 2.13, priority = 1: b = b*2 + a;
  third: at 0.5 after X > 3, persistent = false, priority = 2: Y = Y + 10;
  fourth: at X > 3.2: X = 0.5;
end
"""

# Assignment rules in a chain, one on a species, one on a compartment.
RULES = """
model rules
  compartment C; C := 2 + sin(time/3);
  species A in C = 4, B in C = 0; species T in C; T := A + B;
  k1 = 0.6; k2 = 0.2; total := T*C; half := total/2;
  J0: A -> B; k1*A*C/(1 + half/10);
  J1: B -> A; k2*B*C;
  y' = half - y; y = 1;
  at y > 3.1: k2 = 1.1;
end
"""

# Reversible laws, local names, a function, a power and a piecewise law.
FUNCTIONS = """
function hillish(x, K, n)
  x^n/(K^n + x^n)
end
function twice(x)
  2*hillish(x, 1.5, 3)
end
model functions
  compartment V = 2.5;
  species A in V = 7, B in V = 1; substanceOnly species M in V = 3;
  kf = 1.1; kr = 0.3;
  J0: A -> B; V*(kf*A - kr*B);
  J1: B -> M; V*twice(B)*0.2;
  J2: M -> ; piecewise(0.5*M, time < 9 && V > 1, 0.05*M);
  J3: 2 M -> A; 0.01*M*(M - 1)/2;
  at (M > 5.0) || (time > 6.21): kf = 0.2, A = A + 1;
end
"""

# Exchange between compartments, one of which leaks; a species held at its boundary; a rate rule on
# a species.
EXCHANGE = """
model exchange
  compartment out = 10, in_ = 1; in_' = -0.02*in_;
  species $F in out = 3, A in out = 1, B in in_ = 0.5, $Q in in_ = 2;
  Q' = 0.3 - 0.1*Q;
  p = 0.8; k = 0.4;
  J0: A -> B; p*(A - B);
  J1: $F -> A; 0.05*F*out;
  J2: B + $Q -> ; k*B*Q*in_;
  at B > 1.3: F = F/2, B = B*0.7;
end
"""

# Level 3: conversion factors, variable stoichiometry with an id that a formula uses, rateOf.
FACTORS = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
 <model id="factors" conversionFactor="cf">
  <listOfCompartments>
   <compartment id="c" spatialDimensions="3" size="0.8" constant="true"/>
  </listOfCompartments>
  <listOfSpecies>
   <species id="A" compartment="c" initialConcentration="5" hasOnlySubstanceUnits="false"
    boundaryCondition="false" constant="false" conversionFactor="cfa"/>
   <species id="B" compartment="c" initialAmount="1" hasOnlySubstanceUnits="true"
    boundaryCondition="false" constant="false"/>
  </listOfSpecies>
  <listOfParameters>
   <parameter id="cf" value="2" constant="true"/><parameter id="cfa" value="0.5" constant="true"/>
   <parameter id="k" value="0.3" constant="true"/><parameter id="w" constant="false"/>
  </listOfParameters>
  <listOfInitialAssignments>
   <initialAssignment symbol="made"><math xmlns="http://www.w3.org/1998/Math/MathML">
    <apply><times/><ci>k</ci><cn>4</cn></apply></math></initialAssignment>
  </listOfInitialAssignments>
  <listOfRules>
   <rateRule variable="made"><math xmlns="http://www.w3.org/1998/Math/MathML">
    <cn>0.05</cn></math></rateRule>
   <assignmentRule variable="w"><math xmlns="http://www.w3.org/1998/Math/MathML">
    <apply><times/><ci>made</ci><ci>R</ci></apply></math></assignmentRule>
  </listOfRules>
  <listOfReactions>
   <reaction id="R" reversible="false" fast="false">
    <listOfReactants>
     <speciesReference species="A" stoichiometry="2" constant="true"/></listOfReactants>
    <listOfProducts><speciesReference id="made" species="B" constant="false"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>k</ci><ci>A</ci><ci>c</ci></apply></math></kineticLaw>
   </reaction>
  </listOfReactions>
  <listOfEvents>
   <event useValuesFromTriggerTime="false">
    <trigger initialValue="true" persistent="true"><math
     xmlns="http://www.w3.org/1998/Math/MathML"><apply><lt/><ci>A</ci><cn>2</cn></apply></math>
    </trigger>
    <delay><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>0.61</cn></math></delay>
    <listOfEventAssignments><eventAssignment variable="A"><math
     xmlns="http://www.w3.org/1998/Math/MathML"><apply><plus/><ci>A</ci><cn>3</cn></apply></math>
    </eventAssignment></listOfEventAssignments>
   </event>
  </listOfEvents>
 </model>
</sbml>
"""

# Level 2: stoichiometry as a formula, local parameters that hide global ones, an event with a
# delay, whose values are those at the trigger; a function of a function.
LEVEL_2 = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4">
 <model id="level2">
  <listOfFunctionDefinitions>
   <functionDefinition id="square"><math xmlns="http://www.w3.org/1998/Math/MathML">
    <lambda><bvar><ci>x</ci></bvar><apply><times/><ci>x</ci><ci>x</ci></apply></lambda></math>
   </functionDefinition>
   <functionDefinition id="fourth"><math xmlns="http://www.w3.org/1998/Math/MathML">
    <lambda><bvar><ci>k</ci></bvar><apply><ci>square</ci><apply><ci>square</ci><ci>k</ci></apply>
    </apply></lambda></math></functionDefinition>
  </listOfFunctionDefinitions>
  <listOfCompartments><compartment id="c" size="2"/></listOfCompartments>
  <listOfSpecies>
   <species id="A" compartment="c" initialConcentration="3"/>
   <species id="B" compartment="c" initialAmount="0"/>
  </listOfSpecies>
  <listOfParameters><parameter id="k" value="7"/><parameter id="m" value="0.1" constant="false"/>
  </listOfParameters>
  <listOfReactions>
   <reaction id="R" reversible="false">
    <listOfReactants><speciesReference species="A"/></listOfReactants>
    <listOfProducts><speciesReference species="B" stoichiometry="3"/></listOfProducts>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>k</ci><ci>A</ci><ci>c</ci></apply></math>
     <listOfParameters><parameter id="k" value="0.25"/></listOfParameters></kineticLaw>
   </reaction>
   <reaction id="Q" reversible="false">
    <listOfReactants><speciesReference species="B"/></listOfReactants>
    <kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><times/><ci>m</ci><apply><ci>fourth</ci><ci>B</ci></apply><ci>c</ci></apply></math>
    </kineticLaw>
   </reaction>
  </listOfReactions>
  <listOfEvents>
   <event id="e"><trigger><math xmlns="http://www.w3.org/1998/Math/MathML">
     <apply><gt/><ci>B</ci><cn>0.9</cn></apply></math></trigger>
    <delay><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>0.73</cn></math></delay>
    <listOfEventAssignments><eventAssignment variable="m"><math
     xmlns="http://www.w3.org/1998/Math/MathML"><apply><divide/><ci>B</ci><cn>20</cn></apply></math>
    </eventAssignment></listOfEventAssignments></event>
  </listOfEvents>
 </model>
</sbml>
"""

# A rate rule on a concentration in a volume that grows, beside events that set both.
CONCENTRATION_RULE = """
model concentration_rule
  compartment V = 1.5; V' = 0.1*V;
  species $C in V = 2, D in V = 1; C' = 0.2 - 0.3*C;
  J0: -> D; 0.4*C*V;
  one: at C < 0.97: C = 3;
  other: at V > 2.61: V = 1;
  third: at D > 1.9: D = D/3;
end
"""

# A pacemaker: time in laws, events that cancel one another, logic in triggers.
PACEMAKER = """
model pacemaker
  species X = 0.5, Z = 0; on = 0; threshold := 1 + 0.3*cos(time); beats = 0;
  J0: -> X; 1.2*(1 - on) + 0.1*sin(2*time)^2;
  J1: X -> Z; 0.4*X*(1 + on*4);
  J2: Z -> ; 0.3*Z;
  up: at X > threshold && on < 0.5, t0 = false: on = 1, beats = beats + 1;
  down: at 0.41 after X < 0.4 && on > 0.5: on = 0;
end
"""

MODELS = {
    "growing_cell": GROWING_CELL,
    "doses": DOSES,
    "priorities": PRIORITIES,
    "rules": RULES,
    "functions": FUNCTIONS,
    "exchange": EXCHANGE,
    "factors": FACTORS,
    "level_2": LEVEL_2,
    "concentration_rule": CONCENTRATION_RULE,
    "pacemaker": PACEMAKER,
}


def _sbml_of(text):
    if text.startswith("<"):
        return text
    antimony = pytest.importorskip("antimony", reason="the test extra is not installed")
    assert antimony.loadAntimonyString(text) >= 0, antimony.getLastError()
    sbml = antimony.getSBMLString(antimony.getMainModuleName())
    antimony.clearPreviousLoads()
    return sbml


def _peer(sbml, times):
    """Return libroadrunner's names and columns: amounts, compartments, parameters."""
    roadrunner = pytest.importorskip("roadrunner", reason="the test extra is not installed")
    roadrunner.Logger.setLevel(roadrunner.Logger.LOG_CRITICAL)
    runner = roadrunner.RoadRunner(sbml)
    runner.integrator.relative_tolerance = 1e-10
    runner.integrator.absolute_tolerance = 1e-12
    runner.integrator.maximum_time_step = 0.01  # so that no trigger is stepped over
    runner.integrator.maximum_num_steps = 1_000_000
    names = [
        *runner.model.getFloatingSpeciesIds(),
        *runner.model.getBoundarySpeciesIds(),
        *runner.model.getCompartmentIds(),
        *runner.model.getGlobalParameterIds(),
    ]
    runner.timeCourseSelections = names
    return names, np.array(runner.simulate(times=times.tolist()))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_curves_agree_with_libroadrunner(name):
    text = MODELS[name]
    sbml = _sbml_of(text)
    times = np.linspace(0.0, 15.0, 76)
    names, expected = _peer(sbml, times)
    network = Network.from_sbml(text) if text.startswith("<") else Network.from_antimony(text)
    found = simulate(network, times, method="ode", rtol=1e-9, atol=1e-11)
    inside = {name for place in network.compartments for name in place.contents}
    for column, one in enumerate(names):
        if one == "default_compartment":
            continue
        curve = found.amount(one) if one in inside else found[one]
        wanted = expected[:, column]
        scale = max(np.abs(wanted).max(), 1e-3)
        assert np.abs(curve - wanted).max() <= 1e-5 * scale, one


def test_there_are_ten_models():
    assert len(MODELS) >= 10
