"""A model in SBML: read as it is, run with molecules and as rate equations, and plotted.

A cell of volume 2 is given a dose of the drug D at t = 20, which blocks the enzyme that makes the
product P. The kinetic laws are in amount per time, and D acts by its concentration, as the model
says. Run it with ``python examples/other_peoples_models.py [picture.png]``.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import gillespy_lite as gl

picture = sys.argv[1] if len(sys.argv) > 1 else "other_peoples_models.png"

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
  <model id="dose" substanceUnits="item">
    <listOfCompartments>
      <compartment id="cell" spatialDimensions="3" size="2" constant="true"/>
    </listOfCompartments>
    <listOfSpecies>
      <species id="P" compartment="cell" initialAmount="0" hasOnlySubstanceUnits="true"
               boundaryCondition="false" constant="false"/>
      <species id="D" compartment="cell" initialConcentration="0" hasOnlySubstanceUnits="false"
               boundaryCondition="false" constant="false"/>
    </listOfSpecies>
    <listOfParameters>
      <parameter id="making" value="30" constant="true"/>
      <parameter id="half" value="25" constant="true"/>
    </listOfParameters>
    <listOfReactions>
      <reaction id="make" reversible="false" fast="false">
        <listOfProducts>
          <speciesReference species="P" stoichiometry="1" constant="true"/>
        </listOfProducts>
        <listOfModifiers><modifierSpeciesReference species="D"/></listOfModifiers>
        <kineticLaw>
          <math xmlns="http://www.w3.org/1998/Math/MathML">
            <apply><divide/> <ci> making </ci>
              <apply><plus/> <cn> 1 </cn>
                <apply><divide/> <ci> D </ci> <ci> half </ci> </apply>
              </apply>
            </apply>
          </math>
        </kineticLaw>
      </reaction>
      <reaction id="lose" reversible="false" fast="false">
        <listOfReactants>
          <speciesReference species="P" stoichiometry="1" constant="true"/>
        </listOfReactants>
        <kineticLaw>
          <math xmlns="http://www.w3.org/1998/Math/MathML">
            <apply><times/> <ci> rate </ci> <ci> P </ci> </apply>
          </math>
          <listOfLocalParameters> <localParameter id="rate" value="0.3"/> </listOfLocalParameters>
        </kineticLaw>
      </reaction>
      <reaction id="clear" reversible="false" fast="false">
        <listOfReactants>
          <speciesReference species="D" stoichiometry="1" constant="true"/>
        </listOfReactants>
        <kineticLaw>
          <math xmlns="http://www.w3.org/1998/Math/MathML">
            <apply><times/> <cn> 0.1 </cn> <ci> D </ci> <ci> cell </ci> </apply>
          </math>
        </kineticLaw>
      </reaction>
    </listOfReactions>
    <listOfEvents>
      <event id="dose_given" useValuesFromTriggerTime="true">
        <trigger initialValue="true" persistent="true">
          <math xmlns="http://www.w3.org/1998/Math/MathML">
            <apply><geq/>
              <csymbol encoding="text"
                       definitionURL="http://www.sbml.org/sbml/symbols/time"> t </csymbol>
              <cn> 20 </cn>
            </apply>
          </math>
        </trigger>
        <listOfEventAssignments>
          <eventAssignment variable="D">
            <math xmlns="http://www.w3.org/1998/Math/MathML"> <cn> 100 </cn> </math>
          </eventAssignment>
        </listOfEventAssignments>
      </event>
    </listOfEvents>
  </model>
</sbml>
"""

network = gl.Network.from_sbml(MODEL)  # or the path of a file
print(network)

# "direct" counts molecules one by one; "ode" integrates the rate equations. Both take the event.
times = np.linspace(0.0, 80.0, 161)
path = gl.simulate(network, times, method="direct", rng=4)
curve = gl.simulate(network, times, method="ode")

# A name means what it means in the model: P an amount, D a concentration. Both have both.
after = np.searchsorted(times, 20.0)
print(f"\nat t = 20: D is {path['D'][after]:g} per volume, {path.amount('D')[after]:g} molecules")
lowest = curve["P"].min(where=times > 20, initial=np.inf)
print(f"P falls from {curve['P'][after]:.1f} to {lowest:.2f} by the rate equations")

figure, axes = plt.subplots(figsize=(7, 4))
for name, colour in (("P", "tab:blue"), ("D", "tab:orange")):
    axes.step(times, path[name], where="post", color=colour, alpha=0.6)
    axes.plot(times, curve[name], color=colour, label=f"{name}, rate equations")
axes.set(xlabel="time", ylabel="P: molecules; D: per volume", title="A dose at t = 20")
axes.legend()
figure.savefig(picture, dpi=150)
print(f"wrote {picture}")
