// The part of bcryptjs that is needed, by name: a dynamic import of the whole module would bring the rest along.
export { hashSync } from "bcryptjs";
